from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from volume_blobs import BlobModel, blob_store

from lingula.core.errors import UserError
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.comparison import paired_difference
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.pictures import load_pictures
from lingula.evaluation.segmentation_scores import STRICT
from lingula.evaluation.tasks.segment import run

SMALL: dict[str, Any] = {"rate": 2e-2, "steps": 60, "every": 30, "augment": False, "pictures": 2}
VOLUME: dict[str, Any] = {"head": ("unet",), "width": 4, "batch": 4, "overlap": 0.25}
WHOLE = "100 % of labels, frozen encoder, unet decoder"


def config(segment: dict[str, Any] | None = None, volume: dict[str, Any] | None = None, **values: Any) -> EvaluateConfig:
    own = SMALL | (segment or {}) | {"volume": VOLUME | (volume or {})}
    return EvaluateConfig.from_values({"store": "x", "bootstrap": 20, "fraction": [1.0], "segment": own} | values, "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    return blob_store(tmp_path_factory.mktemp("blobs"))


def test_a_decoder_finds_the_boxes_and_leaves_the_model_alone(store: VolumeStore, tmp_path: Path) -> None:
    model = BlobModel()
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    result = run(model, store, config({"steps": 120}))  # type: ignore[arg-type]
    for finding, there in (("Nodule", 5), ("Effusion", 3)):
        dice, surface = result.find("Dice", finding, WHOLE), result.find("NSD", finding, WHOLE)
        assert dice is not None
        assert surface is not None
        assert dice.value > 0.7
        assert dice.value > 3 * dice.chance
        assert surface.value > 0.5
        assert surface.n == dice.n == there
        assert result.find("specificity", finding, WHOLE).n == 6 - there  # type: ignore[union-attr]
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    assert {row.metric for row in result.rows} == {*STRICT, "NSD"}
    assert result.protocol["NSD tolerance, mm"] == 2.0
    assert result.protocol["crop and window"] == "12 x 12 x 12 voxels"
    result.save(tmp_path)
    pictures = load_pictures(tmp_path)
    assert [picture.caption.split(" in ")[0] for picture in pictures] == ["Effusion", "Nodule"]
    assert all("truth green, prediction red, Dice " in picture.caption for picture in pictures)


def test_the_rows_are_what_the_predictions_give_by_hand(store: VolumeStore) -> None:
    result = run(BlobModel(), store, config({"steps": 4, "every": 2}, bootstrap=0))  # type: ignore[arg-type]
    lines = [line for line in result.predictions.to_pylist() if line["finding"] == "Nodule"]
    dice = [2 * line["overlap"] / (line["truth"] + line["predicted"]) for line in lines if line["truth"]]
    assert result.find("Dice", "Nodule", WHOLE).value == pytest.approx(np.mean(dice))  # type: ignore[union-attr]
    surfaces = [line["NSD"] for line in lines if line["truth"]]
    assert result.find("NSD", "Nodule", WHOLE).value == pytest.approx(np.mean(surfaces))  # type: ignore[union-attr]
    assert all(np.isnan(line["NSD"]) for line in lines if not line["truth"])
    false_area = [line["predicted"] / line["area"] for line in lines if not line["truth"]]
    assert result.find("false area", "Nodule", WHOLE).value == pytest.approx(np.mean(false_area))  # type: ignore[union-attr]
    ids = store.column("row_id")
    for line in lines:
        row = ids.index(line["row_id"])
        masks = [store.mask(row, n) for n, region in enumerate(store.regions(row)) if region.finding == "Nodule"]
        assert line["truth"] == sum(int(mask.sum()) for mask in masks if mask is not None)
        assert line["area"] == np.prod(store.shape(row))


def test_fine_tuning_heads_and_fractions_lie_side_by_side(store: VolumeStore) -> None:
    settings = {"encoder": ("frozen", "fine-tuned"), "steps": 2, "every": 1, "pictures": 0}
    result = run(
        BlobModel(), store, config(settings, {"head": ("linear", "light", "unet")}, fraction=[0.5, 1.0], draws=2, bootstrap=0)
    )  # type: ignore[arg-type]
    assert result.settings == [
        f"{share} % of labels, {tower} encoder, {head} decoder"
        for share in (50, 100)
        for tower in ("frozen", "fine-tuned")
        for head in ("linear", "light", "unet")
    ]
    assert len({(line["setting"], line["unit"]) for line in result.predictions.to_pylist()}) == 6 * 2 + 6
    assert any("50 % of labels, frozen encoder, light decoder: mean of 2 fits on 4 images" in note for note in result.notes)


def test_masks_of_test_have_no_influence_and_the_same_seed_gives_the_same(store: VolumeStore) -> None:
    first, again, other = (
        run(BlobModel(), store, config({"steps": 3, "every": 1, "pictures": 0}, seed=seed, bootstrap=0)).predictions  # type: ignore[arg-type]
        for seed in (0, 0, 1)
    )
    for name in set(first.column_names) - {"NSD"}:
        assert first.column(name) == again.column(name)
    np.testing.assert_array_equal(first.column("NSD").to_numpy(), again.column("NSD").to_numpy())
    assert first.column("predicted") != other.column("predicted")
    val = run(BlobModel(), store, config({"steps": 3, "every": 1, "pictures": 0}, split="val", bootstrap=0))  # type: ignore[arg-type]
    assert any("Thresholds were chosen on the rows" in note for note in val.notes)


def test_two_models_are_compared_volume_by_volume(store: VolumeStore) -> None:
    results = [run(BlobModel(), store, config({"steps": steps, "every": 1, "pictures": 0})) for steps in (1, 3)]  # type: ignore[arg-type]
    rows = paired_difference(results[1], results[0], 20, 0)
    for metric in ("Dice", "NSD"):
        found = next(row for row in rows if (row.metric, row.label) == (metric, "Nodule"))
        a, b = (result.find(metric, "Nodule", WHOLE).value for result in results)  # type: ignore[union-attr]
        assert found.value == pytest.approx(b - a)


def test_folds_score_every_volume_once(store: VolumeStore) -> None:
    result = run(BlobModel(), store, config({"steps": 1, "every": 1, "pictures": 0}, folds=3, bootstrap=0))  # type: ignore[arg-type]
    lines = result.predictions.to_pylist()
    assert len({(line["row_id"], line["finding"]) for line in lines}) == len(lines) == 2 * 18


def test_bad_requests_are_told(store: VolumeStore) -> None:
    class Blind:
        name = "blind"

    with pytest.raises(UserError, match="does not give a volume encoder away"):
        run(Blind(), store, config())  # type: ignore[arg-type]
    for name, value in {"boxes": True, "choose_by": "loss", "batch_norm": "moving", "channels": (8,), "batch": 4}.items():
        with pytest.raises(UserError, match=f"--segment.{name.replace('_', '-')} is for radiographs"):
            run(BlobModel(), store, config({name: value}))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cannot be cut into patches of 4x4x4"):
        run(BlobModel(VolumeCropConfig(size=10)), store, config())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="head needs at least one"):
        config(volume={"head": []})
