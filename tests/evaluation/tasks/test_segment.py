from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from masked_store import SIDE, BlobEncoder, MaskedStore

from lingula.core.errors import UserError
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.pictures import load_pictures
from lingula.evaluation.segmentation_pictures import choose_images
from lingula.evaluation.segmentation_scores import STRICT
from lingula.evaluation.segmentation_truth import gather_masks
from lingula.evaluation.tasks.segment import run
from lingula.models.unet_decoder import UnetDecoder

SMALL: dict[str, Any] = {"channels": (8, 8), "rate": 2e-2, "steps": 60, "every": 20, "batch": 16, "augment": False}
WHOLE = "100 % of labels, frozen encoder, random decoder"


def config(segment: dict[str, Any] | None = None, **values: Any) -> EvaluateConfig:
    few = {"store": "x", "bootstrap": 20, "fraction": [1.0], "segment": SMALL | (segment or {})}
    return EvaluateConfig.from_values(few | values, "test")


@pytest.fixture
def store() -> Any:
    return MaskedStore()


def test_a_frozen_encoder_that_shows_the_blobs_is_enough(store: Any, tmp_path: Path) -> None:
    encoder = BlobEncoder()
    before = {name: value.clone() for name, value in encoder.pyramid.state_dict().items()}
    result = run(encoder, store, config({"steps": 140}))
    for finding, least in (("Edema", 0.85), ("Nodule", 0.7)):
        dice = result.find("Dice", finding, WHOLE)
        assert dice.value > least
        assert dice.low < dice.value < dice.high
        assert dice.value > 3 * dice.chance
        assert result.find("specificity", finding, WHOLE).n + dice.n == 24
    assert all(torch.equal(value, before[name]) for name, value in encoder.pyramid.state_dict().items())
    assert result.find("mgca Dice", "Edema", WHOLE).value > 0.6
    assert {row.subgroup for row in result.rows} == {"all", "sex: F", "sex: M"}
    assert any("trains no decoder" in note for note in result.notes)
    assert result.protocol["findings"] == ["Edema", "Nodule"]
    result.save(tmp_path)
    pictures = load_pictures(tmp_path)
    assert len(pictures) == 6
    assert {picture.caption.split(" in ")[0] for picture in pictures} == {"Edema", "Nodule"}
    assert {(picture.width, picture.height) for picture in pictures} == {(256, 256)}
    assert all("truth green, prediction red, Dice " in picture.caption for picture in pictures)


def test_the_two_scorers_say_what_the_predictions_give_by_hand(store: Any) -> None:
    result = run(BlobEncoder(), store, config({"steps": 12, "every": 6, "batch": 7}, label=["Edema"], bootstrap=0))
    lines = result.predictions.to_pylist()
    assert [line["row_id"] for line in lines] == [f"r{row:03}" for row in range(72, 96)]
    published, dice, quiet = [], [], []
    for line in lines:
        healthy = line["truth"] == 0
        half = 2 * line["overlap at 0.5"] / max(line["truth"] + line["predicted at 0.5"], 1)
        published.append(float(line["predicted at 0.5"] == 0) if healthy else half)
        if healthy:
            quiet.append(line["predicted"] == 0)
        else:
            dice.append(2 * line["overlap"] / (line["truth"] + line["predicted"]))
    batches = [np.mean(published[start : start + 7]) for start in range(0, 24, 7)]
    assert result.find("mgca Dice", "Edema", WHOLE).value == pytest.approx(np.mean(batches))
    assert result.find("Dice", "Edema", WHOLE).value == pytest.approx(np.mean(dice))
    assert result.find("specificity", "Edema", WHOLE).value == pytest.approx(np.mean(quiet))
    row = int(lines[0]["row_id"][1:])
    assert lines[0]["truth"] == sum(int(mask.sum()) for region, mask in store.found[row] if region.finding == "Edema")


def test_masks_and_labels_of_test_have_no_influence_on_what_is_predicted(store: Any) -> None:
    settings = config({"steps": 8, "every": 2})
    before = run(BlobEncoder(), store, settings).predictions
    for row in range(72, 96):
        store.found[row] = [(region, mask[::-1]) for region, mask in store.found[row]]
    after = run(BlobEncoder(), store, settings).predictions
    for name in ("predicted", "predicted at 0.5", "threshold"):
        assert before.column(name) == after.column(name)
    assert before.column("overlap") != after.column("overlap")
    for row in range(48, 72):
        store.found[row] = [(region, mask[::-1]) for region, mask in store.found[row]]
    assert run(BlobEncoder(), store, settings).predictions.column("predicted") != after.column("predicted")


def test_fractions_draws_variants_and_scorers_lie_side_by_side(store: Any) -> None:
    torch.manual_seed(0)
    encoder = BlobEncoder(UnetDecoder((2, 2), 1, channels=(8, 8)))
    variants = {"encoder": ("frozen", "fine-tuned"), "steps": 2, "every": 1, "pictures": 0}
    result = run(encoder, store, config(variants, fraction=[0.25, 1.0], draws=2, bootstrap=0))
    assert result.settings == [
        f"{share} % of labels, {tower} encoder, {decoder} decoder"
        for share in (25, 100)
        for tower in ("frozen", "fine-tuned")
        for decoder in ("random", "pre-trained")
    ]
    units = {(line["setting"], line["unit"]) for line in result.predictions.to_pylist()}
    assert len(units) == 4 * 2 + 4
    assert any("25 % of labels, frozen encoder, random decoder: mean of 2 fits on 12 images" in note for note in result.notes)
    assert {row.metric for row in result.rows} == {*STRICT, "mgca Dice"}
    only = run(encoder, store, config({"steps": 1, "pictures": 0}, scorer=["mgca"], bootstrap=0))
    assert {row.metric for row in only.rows} == {"mgca Dice"}


def test_folds_score_every_image_once_and_unknown_ones_are_left_out(store: Any) -> None:
    store.found[5], store.matrix[5] = [], (np.nan, 1)
    result = run(BlobEncoder(), store, config({"steps": 1, "every": 1, "pictures": 0}, folds=3, bootstrap=0))
    lines = result.predictions.to_pylist()
    assert len({(line["row_id"], line["finding"]) for line in lines}) == len(lines) == 2 * 95
    assert result.split == "3 folds"
    kept = run(BlobEncoder(), store, config({"steps": 1, "pictures": 0}, split="train", bootstrap=0))
    assert any("1 of 48 images to score say nothing" in note for note in kept.notes)


def test_the_model_s_view_is_what_is_scored_and_drawn(store: Any) -> None:
    """A crop to the middle: masks outside of it are no longer there to be found."""
    for row in range(96):
        corner = np.zeros((SIDE, SIDE), bool)
        corner[:4, :4] = True
        store.found[row] = [(region, corner) for region, _ in store.found[row]]
    encoder = BlobEncoder()
    encoder.augment = encoder.augment.model_copy(update={"crop": 0.5})
    result = run(encoder, store, config({"steps": 1}, bootstrap=0))
    assert result.find("Dice", "macro", WHOLE).value is None
    assert result.find("specificity", "macro", WHOLE).n == 24
    assert any("validation has nothing to find" in note for note in result.notes)


def test_pictures_take_findings_in_turn_and_other_images_where_there_are(store: Any) -> None:
    truth = gather_masks(store, np.arange(48), np.arange(72, 96), config())
    chosen = choose_images(truth, np.arange(72, 96), 6, seed=0)
    assert [place for _, place in chosen] == [0, 1] * 3
    assert len({row for row, _ in chosen}) == 6
    assert all(truth.outlined[row, place] for row, place in chosen)
    few = choose_images(truth, np.array([chosen[0][0]]), 6, seed=0)
    assert len(few) == truth.outlined[chosen[0][0]].sum()
    assert choose_images(truth, np.arange(72, 96), 0, seed=0) == []


def test_bad_requests_are_told(store: Any) -> None:
    class Blind:
        name = "blind"

    with pytest.raises(UserError, match="does not give its image tower away"):
        run(Blind(), store, config())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no pre-trained decoder"):
        run(BlobEncoder(), store, config({"decoder": ["pre-trained"]}))
    with pytest.raises(UserError, match="encoder and decoder need at least one"):
        config({"decoder": []})
    with pytest.raises(UserError, match="scorer needs at least one"):
        config(scorer=[])


def test_the_options_repeat_the_task() -> None:
    words = config({"batch_norm": "moving"}, scorer=["mgca"]).options("segment")
    assert "--task segment" in words
    assert "--segment.batch-norm moving" in words
    assert "--segment.channels 8 8" in words
    assert "--segment.no-augment" in words
    assert "--scorer mgca" in words
