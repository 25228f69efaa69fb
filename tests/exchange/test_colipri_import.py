"""Weights of colipri as a run: the numbers of the file, and every command takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ct_runs import make_ct_store, small_recipe

import lingula
from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.volume_store import VolumeStore
from lingula.exchange import ColipriConfig, save_colipri
from lingula.exchange.colipri import Colipri
from lingula.exchange.colipri_import import import_colipri
from lingula.inference import VolumeModel
from lingula.methods.tokeniser import train_tokeniser
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.training.pretrain import pretrain

RELEASED = {"orientation": "RAS", "spacing": 2.0, "hu_range": (-1000.0, 1000.0)}
PROMPTS = ["effusion on the left", "clear lungs"]
SIZES = {
    "image_encoder": {"embed_dim": 24, "depth": 1, "num_heads": 2, "patch_size": 8, "input_size": 16},
    "projection_dim": 16,
    "image_pooler_heads": 2,
    "text_pooler_heads": 2,
    "text_encoder": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "vocab_size": 90,
        "max_position_embeddings": 32,
    },
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    return VolumeStore.open(make_ct_store(tmp_path_factory.mktemp("ct") / "store", train=14, val=6, test=10))


@pytest.fixture(scope="module")
def exported(store: VolumeStore) -> Path:
    """Trained here, with another Hounsfield range than the released model's."""
    run = store.path.parent / "run"
    pretrain(small_recipe(store.path, optimisation={"steps": 2}, crop={"hu_range": (-900.0, 300.0)}), run)
    main(["export", str(run), "--to", "colipri"])
    return run / "colipri.safetensors"


@pytest.fixture
def foreign(tmp_path: Path) -> tuple[Path, Path]:
    """A file that says nothing about volumes, and a tokeniser in a folder of its own."""
    torch.manual_seed(0)
    model = Colipri(ColipriConfig.from_values(SIZES, "sizes")).eval()
    model.softmax_temperature.fill_(0.07)
    save_colipri(model, tmp_path / "theirs.safetensors")
    words = train_tokeniser([*PROMPTS, "no effusion is seen"], SmallLanguageModelConfig(vocabulary=64, max_tokens=32))
    words.save_pretrained(tmp_path / "words")
    return tmp_path / "theirs.safetensors", tmp_path / "words"


def test_a_run_that_went_out_and_came_back_gives_the_same_numbers(
    store: VolumeStore, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Axes, voxel size and Hounsfield range are those that the file says, not the released model's."""
    main(["convert", str(exported), str(tmp_path / "again"), "--from", "colipri"])
    assert "--orientation RAS --spacing 12.0" in capsys.readouterr().out
    ours, theirs = lingula.load(exported.parent), lingula.load(tmp_path / "again")
    assert isinstance(ours, VolumeModel)
    assert isinstance(theirs, VolumeModel)
    rows = store.rows("test")
    for one, two in zip(ours.embed_rows(store, rows), theirs.embed_rows(store, rows), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    np.testing.assert_allclose(ours.encode_text(PROMPTS), theirs.encode_text(PROMPTS), atol=1e-6)
    voxels = store.volume(3).voxels
    for one, two in zip(ours.predict(voxels, PROMPTS), theirs.predict(voxels, PROMPTS), strict=True):
        assert (one.prompt, one.probability) == (two.prompt, pytest.approx(two.probability, rel=1e-4))


def test_every_command_takes_it(store: VolumeStore, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    main(["convert", str(exported), str(run), "--from", "colipri"])
    tasks = ["zero-shot", "probe", "retrieve"]
    main(["evaluate", str(run), "--store", str(store.path), "--task", *tasks, "--fraction", "1", "--bootstrap", "10"])
    main(["report", str(run), "--out", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "not here: the weights are those of colipri.safetensors" in page
    main(["export", str(run), "--to", "colipri", "--out", str(tmp_path / "third.safetensors")])
    with pytest.raises(SystemExit):
        main(["evaluate", str(run), "--store", str(store.path), "--task", "generate"])
    assert "report" in capsys.readouterr().err


def test_a_file_of_the_package_is_read_as_released(foreign: tuple[Path, Path], tmp_path: Path) -> None:
    weights, words = foreign
    seen = import_colipri(weights, tmp_path / "run", RELEASED, words)
    assert seen == RELEASED
    model, file = lingula.load(tmp_path / "run"), lingula.load(weights)
    assert isinstance(model, VolumeModel)
    assert model.orientation == "RAS"
    assert model.method.temperature == pytest.approx(0.07)
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, (16, 16, 16)).astype(np.int16)
    volume = torch.from_numpy(voxels.astype(np.float32) / 1000)[None, None]
    with torch.no_grad():
        image = file.encode_image(volume, pool=True, project=True, normalize=True).numpy()
        tokens = model.text_encoder.tokenise(PROMPTS)
        text = file.encode_text(tokens.ids, tokens.mask).numpy()
    np.testing.assert_allclose(model.encode_image([voxels]), image, atol=1e-5)
    np.testing.assert_allclose(model.encode_text(PROMPTS), text, atol=1e-6)
    assert import_colipri(weights, tmp_path / "turned", RELEASED, words, orientation="SAR")["orientation"] == "SAR"


def test_what_does_not_fit_is_refused_and_leaves_nothing(foreign: tuple[Path, Path], exported: Path, tmp_path: Path) -> None:
    weights, words = foreign
    large = train_tokeniser(
        [f"word{chr(97 + n)}{chr(97 + m)}" for n in range(9) for m in range(9)] * 3, SmallLanguageModelConfig()
    )
    large.save_pretrained(tmp_path / "large")
    (tmp_path / "damaged.json").write_text("{")
    run = tmp_path / "run"
    for arguments, message in (
        ((weights, run, RELEASED), "no tokeniser at .*theirs.tokenizer.json"),
        ((weights, run, RELEASED, tmp_path / "damaged.json"), "is no tokeniser"),
        ((weights, run, RELEASED, tmp_path / "large"), r"has \d+ words, the text encoder 90"),
        ((weights, words, RELEASED, words), "exists already"),
        ((exported, run, RELEASED, None, None, "SAR"), "was trained on RAS volumes"),
        ((tmp_path / "absent.safetensors", run, RELEASED, words), "no such file"),
    ):
        with pytest.raises(UserError, match=message):
            import_colipri(*arguments)  # type: ignore[arg-type]
        assert not run.exists()


def test_options_of_colipri_are_for_colipri(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["convert", str(tmp_path / "a.pt"), str(tmp_path / "b.safetensors"), "--orientation", "SAR"])
    assert left.value.code == 2
    assert "Give --from colipri" in capsys.readouterr().err
