"""A run of CT volumes, used: new volumes as stored ones, whole and in windows, tasks from the command line, export and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from ct_runs import make_ct_store, small_recipe
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional

import lingula
from lingula.cli import main
from lingula.cli.show_masked import show_masked
from lingula.core.errors import UserError
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.config import EvaluateConfig, SeenOfVolumes
from lingula.evaluation.evaluate import evaluate
from lingula.evaluation.masked_pictures import fill_hidden
from lingula.evaluation.tasks import token_probe
from lingula.evaluation.volume_encoder import FillingEncoder
from lingula.exchange import Colipri
from lingula.inference import Model, VolumeModel, load_model
from lingula.training.pretrain import pretrain

PROMPTS = ["effusion on the left", "clear lungs"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ct")
    make_ct_store(folder / "store", train=14, val=8, test=14)
    pretrain(small_recipe(folder / "store", optimisation={"steps": 2}), folder / "run")
    return folder


@pytest.fixture(scope="module")
def store(place: Path) -> VolumeStore:
    return VolumeStore.open(place / "store")


@pytest.fixture(scope="module")
def model(place: Path) -> VolumeModel:
    loaded = lingula.load(place / "run")
    assert isinstance(loaded, VolumeModel)
    return loaded


def test_a_new_volume_is_what_the_store_would_hold(model: VolumeModel, store: VolumeStore, tmp_path: Path) -> None:
    volume = store.volume(3)
    turned = np.ascontiguousarray(volume.voxels[::-1])  # the same patient in a file whose x axis runs to the left
    affine = volume.affine @ np.diag([-1.0, 1, 1, 1])
    affine[:3, 3] = volume.affine[:3, 3] + volume.affine[:3, 0] * (volume.voxels.shape[0] - 1)
    nibabel.save(nibabel.Nifti1Image(turned, affine), tmp_path / "ct.nii.gz")
    features, latents = model.embed_rows(store, np.array([3]))
    given = model.encode_image([tmp_path / "ct.nii.gz", str(tmp_path / "ct.nii.gz"), volume, volume.voxels])
    for each in given:
        np.testing.assert_allclose(each, latents[0], atol=1e-6)
    assert features.shape == (1, 24)
    np.testing.assert_allclose(np.linalg.norm(given, axis=1), 1, atol=1e-5)


def test_whole_windows_and_centre_are_what_they_say(model: VolumeModel, store: VolumeStore) -> None:
    shape = store.shape(0)
    padded = [-(-side // 8) * 8 for side in shape]
    before = [-(-(whole - side) // 2) for whole, side in zip(padded, shape, strict=True)]
    values = np.full(padded, store.column("hu_min")[0], np.float32)
    x, y, z = (slice(start, start + side) for start, side in zip(before, shape, strict=True))
    values[x, y, z] = store.volume(0).voxels
    volume = torch.from_numpy(np.clip(values, -1000, 1000) / 1000)[None, None]
    tower = model.method.image_encoder
    for seen, window in (("whole", None), ("windows", (16, 16, 16))):
        with torch.no_grad():
            expected = functional.normalize(tower(volume, pool=True, project=True, window_size=window), dim=1)
        np.testing.assert_allclose(model.encode_image([store.volume(0)], seen=seen), expected.numpy(), atol=1e-5)
    start = [-(-(side - 16) // 2) for side in shape]
    crop = torch.from_numpy(store.crop(0, start, (16, 16, 16)).astype(np.float32)).clip(-1000, 1000)[None, None] / 1000
    with torch.no_grad():
        expected = functional.normalize(tower(crop, pool=True, project=True), dim=1)
    np.testing.assert_allclose(model.encode_image([store.volume(0)], seen="centre"), expected.numpy(), atol=1e-5)


def test_another_way_of_looking_is_another_cache(place: Path, model: VolumeModel) -> None:
    """And left out, it is what the training validated with."""
    ways: tuple[SeenOfVolumes, ...] = ("whole", "windows", "centre")
    fingerprints = [load_model(place / "run", seen=seen).fingerprint for seen in ways]
    assert len(set(fingerprints)) == 3
    assert model.seen == model.run.config.crop.evaluation == "centre"
    assert model.fingerprint == fingerprints[2]


def test_an_evaluation_is_not_run_with_a_model_that_sees_something_else(place: Path, store: VolumeStore, tmp_path: Path) -> None:
    config = EvaluateConfig(store=place / "store", volumes="windows")
    with pytest.raises(UserError, match=r'to see volumes as centre, and the evaluation says windows.*seen="windows"'):
        evaluate(load_model(place / "run"), store, config, tmp_path)
    assert not any(tmp_path.iterdir())


def test_tokens_are_computed_once_and_the_best_probe_of_validation_is_scored(place: Path, model: VolumeModel) -> None:
    run, common = str(place / "run"), ["--store", str(place / "store"), "--task", "token-probe", "--bootstrap", "0"]
    small = ["--fraction", "0.5", "1.0", "--draws", "2", "--token-probe.steps", "20", "--token-probe.rates", "0.1", "0.01"]
    main(["evaluate", run, *common, *small])
    told = json.loads((place / "run/evaluation/token-probe/result.json").read_text())
    quality = told["protocol"]["macro AUPRC on validation"]
    assert list(quality) == ["50 %, fit 1", "50 %, fit 2", "100 %, fit 1"]
    for fit in quality.values():
        assert len(fit) == 10
    best = max(quality["100 %, fit 1"], key=quality["100 %, fit 1"].__getitem__)
    assert f"100 % of labels: 1 fits, the best on validation: {best}." in told["notes"]
    assert told["protocol"]["tokens"] == "8 of 24 features"
    (folder,) = (place / "run/evaluation/tokens").iterdir()
    kept, store = np.load(folder / "tokens.npy"), VolumeStore.open(place / "store")
    assert kept.dtype == np.float16
    np.testing.assert_allclose(kept[[2, 5]].mean(axis=1), model.embed_rows(store, np.array([2, 5]))[0], atol=2e-3)
    written = (folder / "done.npy").stat().st_mtime_ns
    main(["evaluate", run, *common, *small, "--fraction", "1.0"])
    assert (folder / "done.npy").stat().st_mtime_ns == written


def test_whole_volumes_of_different_sizes_have_no_common_tokens(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where each block that is encoded at once has one size."""
    monkeypatch.setattr(token_probe, "VOLUMES_AT_ONCE", 1)
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(place / "run"), "--store", str(place / "store"), "--task", "token-probe", "--volumes", "whole"])
    assert stop.value.code == 2
    assert "different numbers of tokens. Show crops, which all have one size: --volumes centre." in capsys.readouterr().err


def test_prompts_are_compared_at_the_learned_temperature(model: VolumeModel, store: VolumeStore) -> None:
    matches = model.predict(store.volume(1), PROMPTS)
    cosines = model.encode_text([match.prompt for match in matches]) @ model.encode_image([store.volume(1)])[0]
    expected = np.exp(cosines / model.method.temperature)
    np.testing.assert_allclose([match.probability for match in matches], expected / expected.sum(), rtol=1e-4)


def test_one_prompt_alone_has_no_share(
    place: Path, model: VolumeModel, store: VolumeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = store.volume(3)
    nibabel.save(nibabel.Nifti1Image(volume.voxels, volume.affine), tmp_path / "ct.nii.gz")
    main(["predict", str(place / "run"), str(tmp_path / "ct.nii.gz"), "--prompt", PROMPTS[0]])
    main(["predict", str(place / "run"), str(tmp_path / "ct.nii.gz"), "--prompt", *PROMPTS])
    alone, *both = capsys.readouterr().out.splitlines()
    assert alone.startswith("cosine ")
    assert [("%" in line) for line in both] == [True, True]


def test_what_it_cannot_read_is_said(model: VolumeModel, place: Path, store: VolumeStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such volume"):
        model.encode_image([tmp_path / "missing.nii.gz"])
    with pytest.raises(UserError, match="Hounsfield"):
        model.encode_image([np.full((24, 24, 24), 1000, np.int16)])
    with pytest.raises(UserError, match="is of CT volumes, not of radiographs"):
        Model.load(place / "run")
    make_ct_store(tmp_path / "finer", 2, 0, spacing=11.0)
    with pytest.raises(UserError, match=r"stored with spacing 11.0, the model was trained on 12.0"):
        model.embed_rows(VolumeStore.open(tmp_path / "finer"), np.array([0]))
    with pytest.raises(UserError, match="no classifier"):
        model.classify(np.zeros((1, 24), np.float32))


def test_one_item_is_no_list_and_an_unknown_view_is_refused(model: VolumeModel, place: Path, store: VolumeStore) -> None:
    voxels = store.volume(1).voxels
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: model.encode_text("clear lungs"), r"a single text was given.*Put it into a list: \[text\]"),
        (lambda: model.encode_text([]), "no text was given"),
        (lambda: model.encode_image("ct.nii.gz"), "a single volume was given"),
        (lambda: model.encode_image(voxels), "a single volume was given"),
        (lambda: model.encode_image([]), "no volume was given"),
        (lambda: model.encode_image([voxels], seen="all"), "shown as 'all'. Choose one of whole, windows, centre"),  # type: ignore[arg-type]
        (lambda: lingula.load(place / "run", seen="all"), "shown as 'all'"),  # type: ignore[arg-type]
    ]
    for call, message in calls:
        with pytest.raises(UserError, match=message):
            call()
    np.testing.assert_array_equal(model.encode_image(voxels[None]), model.encode_image([voxels]))


def test_tasks_page_and_embeddings_from_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, common = str(place / "run"), ["--store", str(place / "store"), "--bootstrap", "10"]
    tasks = ["zero-shot", "probe", "retrieve", "geometry"]
    main(["evaluate", run, "--task", *tasks, *common, "--fraction", "1.0"])
    for task in tasks:
        result = json.loads((place / "run/evaluation" / task / "result.json").read_text())
        assert result["rows"]
        assert result["phantom"] is True
    protocol = json.loads((place / "run/evaluation/zero-shot/result.json").read_text())["protocol"]
    assert protocol["prompt source"].startswith("phantom")
    assert protocol["volumes"] == "centre"
    main(["evaluate", run, "--protocol", "colipri/zero-shot/ct-rate", *common])
    protocol = json.loads((place / "run/evaluation/zero-shot/result.json").read_text())["protocol"]
    assert protocol["volumes"] == "windows", "what a protocol says is seen counts when the model is loaded"
    main(["report", run, "--out", str(place / "report.html")])
    page = (place / "report.html").read_text()
    assert "RAS (x, y, z run to the right, front, head)" in page
    assert "crops of 16 voxels, 12.0 mm" in page
    assert "36 CT volumes, RAS, voxels of 12 mm, int16 HU, fingerprint" in page
    assert "resnet50" not in page, "settings of radiographs have no part in it"
    assert 'alt="Chest CT phantom-' in page
    assert "The CT shows " in page
    assert "radiograph shows" not in page
    main(["embed", run, "--store", str(place / "store"), "--split", "val", "--out", str(place / "val.parquet")])
    assert "8 images" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["evaluate", run, "--task", "detect", *common])
    assert left.value.code == 2
    assert "the task detect runs on radiographs" in capsys.readouterr().err


def test_a_model_is_loaded_to_see_volumes_as_asked(place: Path, model: VolumeModel, store: VolumeStore) -> None:
    windows = lingula.load(place / "run", seen="windows")
    assert isinstance(windows, VolumeModel)
    voxels = store.volume(3).voxels
    np.testing.assert_array_equal(windows.encode_image([voxels]), model.encode_image([voxels], seen="windows"))
    assert not np.allclose(windows.encode_image([voxels]), model.encode_image([voxels]))


def test_hidden_patches_are_filled_in_and_shown(
    place: Path, model: VolumeModel, store: VolumeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["show", str(place / "run"), "--store", str(place / "store"), "--study", store.column("study_id")[3]])
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed[-1] == str(place / "run/show.png")
    assert printed[0] == "75% of the patches of 8 x 8 x 8 voxels are hidden; crop of 16 x 16 x 16 voxels of 12 x 12 x 12 mm."
    assert isinstance(model, FillingEncoder)
    filler = model.hidden_filler(store)
    assert filler is not None
    assert f"hidden voxels {fill_hidden(filler, store, 3).error:.4f}" in printed[1]
    assert show_masked(place / "run", tmp_path / "other.png", store, 3, seed=1)[1] not in printed
    with Image.open(place / "run/show.png") as first, Image.open(tmp_path / "other.png") as second:
        assert first.size == second.size
        assert not np.array_equal(np.array(first), np.array(second))


def test_what_cannot_be_shown_of_volumes_is_said(
    place: Path, store: VolumeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, of_store = ["show", str(place / "run")], ["--store", str(place / "store")]
    for options, said in (
        ([*of_store, "--row", "1", "--phrase", "effusion"], "--phrase, --image and --reference are for radiographs"),
        ([*of_store], "show needs one volume of a store"),
        ([*of_store, "--row", "99"], "has no row 99"),
    ):
        with pytest.raises(SystemExit) as left:
            main([*words, *options, "--out", str(tmp_path / "out.png")])
        assert left.value.code == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(VolumeModel, "hidden_filler", lambda *_: None)
    with pytest.raises(UserError, match="has no decoder of hidden patches"):
        show_masked(place / "run", tmp_path / "out.png", store, 0)
    assert not list(tmp_path.iterdir())


def test_an_exported_file_gives_the_run_s_numbers(
    place: Path, model: VolumeModel, store: VolumeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / "weights.safetensors"
    main(["export", str(place / "run"), "--to", "colipri", "--out", str(file)])
    assert "RAS, 12.0 mm" in capsys.readouterr().out
    loaded = lingula.load(file)
    assert isinstance(loaded, Colipri)
    assert not {name for name in load_file(file) if "decoder" in name}
    volume = torch.from_numpy(store.crop(0, (0, 0, 0), (16, 16, 16)).astype(np.float32)).clip(-1000, 1000)[None, None] / 1000
    texts = model.text_encoder.tokenise(PROMPTS)
    with torch.no_grad():
        image, text = (
            loaded.encode_image(volume, pool=True, project=True, normalize=True),
            loaded.encode_text(*vars(texts).values()),
        )
        torch.testing.assert_close(image, model.method.encode_image(volume))
        probabilities = loaded.classify(image, text)[0]
    np.testing.assert_allclose(text.numpy(), model.encode_text(PROMPTS), atol=1e-6)
    expected = torch.softmax(model.method.encode_image(volume).detach()[0] @ text.T / model.method.temperature, 0)
    torch.testing.assert_close(probabilities, expected)
    from tokenizers import Tokenizer

    tokeniser = Tokenizer.from_file(str(place / "weights.tokenizer.json"))
    assert tokeniser.encode(PROMPTS[0]).ids == model.text_encoder.tokenise([PROMPTS[0]]).ids[0].tolist()
