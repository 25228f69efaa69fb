"""`lingula show` and the grounding task, with models that were trained for two steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lingula.cli import main
from lingula.cli.show import show
from lingula.core.errors import UserError
from lingula.data.phantom.source import PhantomSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.store import Store
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import GroundingEncoder
from lingula.evaluation.grounding.heat_maps import phrase_grids, place_grids
from lingula.evaluation.grounding.model_maps import mean_cells
from lingula.evaluation.tasks.ground import run as ground
from lingula.evaluation.tasks.zero_shot import run as zero_shot
from lingula.inference import Model
from lingula.training.pretrain import pretrain
from lingula.training.recipes import recipe

SIZE = 48
SMALL = {"vocabulary": 300, "width": 32, "word_steps": 3, "steps": 0}
BUDGET: dict[str, Any] = {
    "image_encoder": {"name": "test_resnet", "output_stride": 8},
    "text_encoder": {"small": SMALL},
    "optimisation": {"steps": 2, "batch_size": 12, "warmup": 0},
    "runtime": {"validate_every": 2, "checkpoint_every": 100},
}
PHRASE = "right pleural effusion"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the phantom, a CLIP run that sees a crop of it, a G2D run and a supervised one."""
    place = tmp_path_factory.mktemp("show")
    prepare(PhantomSource(36, 16, 16, size=SIZE), place / "store", PrepareConfig(size=SIZE), workers=1)
    for method, crop in (("clip", 0.75), ("g2d", 1.0), ("supervised", 1.0)):
        data = {"store": str(place / "store"), "image_size": 32}
        pretrain(recipe(method, "sound", {}, BUDGET | {"data": data, "augment": {"crop": crop}}), place / method)
    return place


def image_file(folder: Path, tmp_path: Path, black: bool = False) -> Path:
    grey = np.array(Store.open(folder / "store").pixels(0)) * (0 if black else 1)
    Image.fromarray(np.pad(grey, ((0, 0), (0, 20)))).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_a_loaded_model_grounds(folder: Path) -> None:
    store = Store.open(folder / "store")
    pixels = [np.array(store.pixels(row)) for row in range(5)]
    for name, attends in (("clip", False), ("g2d", True)):
        model = Model.load(folder / name)
        assert isinstance(model, GroundingEncoder)
        model.batch_size = 2
        dense, attention = model.dense_pixels(pixels), model.attention_pixels(pixels)
        assert dense.shape[0] == 5
        assert dense.shape[2:] == (4, 4)
        np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(dense[3:4], model.dense_pixels(pixels[3:4]), atol=1e-5)
        assert (attention is not None) == attends
        if attention is not None:
            assert attention.shape[2:] == dense.shape[2:]
            np.testing.assert_allclose(attention[4:], model.attention_pixels(pixels[4:]), atol=1e-5)
        phrases = [PHRASE, "cardiomegaly"]
        maps = model.heatmaps(pixels[0], phrases)
        np.testing.assert_array_equal(maps[1], model.heatmaps(pixels[0], phrases)[1])
        np.testing.assert_allclose(maps[0], model.heatmap(pixels[0], PHRASE), atol=1e-6)
        grids = phrase_grids(dense[0], model.encode_text(phrases))
        np.testing.assert_allclose(maps, place_grids(grids, SIZE, SIZE, model.crop), atol=1e-5)
        assert model.unknown_words("right ξξξ") == ["ξξξ"]


def test_grounding_and_dense_zero_shot_run_on_real_models(folder: Path) -> None:
    store = Store.open(folder / "store")
    for name in ("clip", "g2d"):
        model = Model.load(folder / name)
        result = ground(model, store, EvaluateConfig(store=folder / "store", bootstrap=10))
        assert result.phantom
        assert ("attention" in result.settings) == (name == "g2d")
        assert result.protocol["words"]["stored phrases"] > 0
        assert result.protocol["sides"]["phrase and region agree"] > 0.8
        kinds = ("pooled", "dense-max", *(("dense-attention",) if name == "g2d" else ()))
        scores = zero_shot(model, store, EvaluateConfig(store=folder / "store", bootstrap=0, zero_shot_scores=kinds))
        assert scores.settings == ["", *kinds[1:]]


def test_a_row_of_the_store_is_drawn_with_its_truth(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(folder / "store")
    row = int(store.rows("test")[0])
    words = [str(folder / "g2d"), "--store", str(folder / "store"), "--phrase", PHRASE, "cardiomegaly"]
    main(["show", *words, "--row", str(row)])
    assert capsys.readouterr().out.strip() == str(folder / "g2d" / "show.png")
    main(["show", *words, "--study", store.column("study_id")[row], "--out", str(tmp_path / "study.png")])
    with Image.open(folder / "g2d/show.png") as first, Image.open(tmp_path / "study.png") as second:
        np.testing.assert_array_equal(np.array(first), np.array(second))
        wide = first.width
    notes = show(folder / "clip", (PHRASE,), tmp_path / "clip.png", store=folder / "store", row=row)
    assert notes == ["clip pools without attention: no attention map and no pseudo mask."]
    with Image.open(tmp_path / "clip.png") as third:
        assert third.width < wide * 0.7


def test_a_mean_map_is_taken_off_where_a_reference_is_given(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, model = Store.open(folder / "store"), Model.load(folder / "g2d")
    pixels = np.array(store.pixels(40))
    mean = mean_cells(model, store, store.rows("train"))
    assert mean is not None
    latent = model.encode_text([PHRASE])
    every = [phrase_grids(model.dense_pixels([store.pixels(int(row))])[0], latent)[0] for row in store.rows("train")]
    less = place_grids(np.mean(every, axis=0)[None], SIZE, SIZE)[0]
    np.testing.assert_allclose(model.heatmap(pixels, PHRASE, mean), model.heatmap(pixels, PHRASE) - less, atol=1e-5)
    words = ["show", str(folder / "g2d"), "--store", str(folder / "store"), "--phrase", PHRASE, "--row", "40"]
    main([*words, "--out", str(tmp_path / "plain.png")])
    main([*words, "--out", str(tmp_path / "less.png"), "--reference", str(folder / "store")])
    assert "Maps of phrases: cosine less its mean over 36 training images of" in capsys.readouterr().out
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "less.png").read_bytes()
    prepare(PhantomSource(0, 2, 2, size=SIZE), tmp_path / "untrained", PrepareConfig(size=SIZE), workers=1)
    with pytest.raises(UserError, match="has no training images"):
        show(folder / "g2d", (PHRASE,), tmp_path / "x.png", store=folder / "store", row=0, reference=tmp_path / "untrained")


@pytest.mark.parametrize("black", [False, True])
def test_an_image_file_is_drawn_whatever_it_shows(folder: Path, tmp_path: Path, black: bool) -> None:
    file = image_file(folder, tmp_path, black)
    for name in ("clip", "g2d"):
        show(folder / name, (PHRASE,), tmp_path / f"{name}.png", file)
        assert (tmp_path / f"{name}.png").is_file()
        model = Model.load(folder / name)
        assert np.isfinite(model.heatmap(file, PHRASE)).all()
    attention, mask = model.attention_map(file), model.pseudo_mask(file)
    assert attention is not None
    assert mask is not None
    assert attention.shape == mask.shape == (SIZE, SIZE + 20)
    assert 0 <= mask.min() <= mask.max() <= 1


def test_pseudo_masks_are_made_as_the_run_says(folder: Path) -> None:
    model = Model.load(folder / "g2d")
    pixels = np.array(Store.open(folder / "store").pixels(2))
    settings, own = model.mask_settings()
    assert own
    assert settings["quantile"] == model.run.config.method.mask.quantile  # type: ignore[union-attr]
    images = model.transform.evaluate([pixels])
    attention = model.method.attention_maps(images)
    expected = place_grids(model.method.make_masks(attention, images)[:, 0].detach().numpy(), SIZE, SIZE)[0]  # type: ignore[operator]
    np.testing.assert_allclose(model.pseudo_mask(pixels), expected, atol=1e-6)
    assert Model.load(folder / "clip").mask_settings() == ({}, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--phrase", PHRASE], "show needs one image"),
        (["--phrase", PHRASE, "--store", "{store}"], "show needs one image of the store"),
        (["--phrase", PHRASE, "--image", "x.png", "--row", "1"], "--row and --study choose an image of a store"),
        (["--phrase", " ", "--image", "x.png"], "no phrase to look for"),
        (["--phrase", PHRASE, "--image", "nowhere.png"], "no such image: nowhere.png"),
        (["--phrase", PHRASE, "--store", "{store}", "--row", "999"], "has no row 999"),
        (["--phrase", PHRASE, "--store", "{store}", "--study", "phantom-test-000000-9"], "Did you mean 'phantom-test-000000-0'"),
        (["--phrase", "ξξ ψψ", "--store", "{store}", "--row", "1"], "no word of 'ξξ ψψ' is known"),
        (["--phrase", "...", "--store", "{store}", "--row", "1"], "no word of '...' is known"),
    ],
)
def test_wrong_use_is_one_clear_error(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    words = [option.format(store=folder / "store") for option in options]
    with pytest.raises(SystemExit) as left:
        main(["show", str(folder / "clip"), *words, "--out", str(tmp_path / "out.png")])
    assert left.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert said in message
    assert not list(tmp_path.iterdir())


def test_some_unknown_words_are_a_warning_and_a_model_without_text_an_error(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    notes = show(folder / "g2d", ("right ξξ effusion",), out, store=folder / "store", row=0)
    assert notes[0] == "Unknown to the text encoder: ξξ (in “right ξξ effusion”)."
    with pytest.raises(UserError, match="no text tower"):
        show(folder / "supervised", (PHRASE,), out, store=folder / "store", row=0)
    with pytest.raises(UserError, match="no dense features comparable with text"):
        ground(Model.load(folder / "supervised"), Store.open(folder / "store"), EvaluateConfig(store=folder / "store"))
