from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import BlobStore, GridEncoder, build_blobs

from lingula.core.errors import UserError
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.grounding.asked import ATTENTION, CENTRE, CENTRED, FINDING, PHRASE, RANDOM
from lingula.evaluation.grounding.side_measure import ENDING, RIGHT, SHIFT
from lingula.evaluation.grounding.sides import BOTH, MIRRORED, ORIGINAL, SWAPPED
from lingula.evaluation.result import TaskResult
from lingula.evaluation.tasks.ground import run


def config(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": Path("x"), "bootstrap": 20, **values}, "test")


def value(result: TaskResult, metric: str, setting: str, label: str = "macro") -> float:
    row = result.find(metric, label, setting)
    assert row is not None
    assert row.value is not None
    return row.value


@pytest.fixture(scope="module")
def store() -> BlobStore:
    return build_blobs(96)


@pytest.fixture(scope="module")
def grounded(store: BlobStore) -> TaskResult:
    return run(GridEncoder(), store, config())


def test_an_encoder_that_grounds_finds_every_region(grounded: TaskResult) -> None:
    assert value(grounded, "pointing", PHRASE) == 1
    assert value(grounded, "AUROC", PHRASE) > 0.97
    assert value(grounded, "CNR", PHRASE) > 2
    assert value(grounded, "IoU", PHRASE) > 0.6
    assert {row.setting for row in grounded.rows} >= {PHRASE, ATTENTION, CENTRE, FINDING, RANDOM}
    assert value(grounded, "pointing", ATTENTION) == 1
    pointing = grounded.find("pointing", "macro", PHRASE)
    assert pointing is not None
    assert pointing.n == 24
    assert pointing.chance == pytest.approx(16 / 256)


def test_baselines_know_nothing_of_the_image(store: BlobStore, grounded: TaskResult) -> None:
    blind = run(GridEncoder(sees=False, attends=False, knows_sides=False, name="blind"), store, config())
    for setting in (CENTRE, FINDING, RANDOM):
        assert value(blind, "AUROC", setting) == value(grounded, "AUROC", setting)
        assert value(grounded, "IoU", setting) < 0.5 * value(grounded, "IoU", PHRASE)
    assert value(blind, "AUROC", PHRASE) == 0.5
    assert value(blind, "pointing", PHRASE) == pytest.approx(16 / 256)
    assert blind.find("pointing", "macro", ATTENTION) is None


def test_macro_is_the_mean_of_the_findings_and_predictions_give_it_back(grounded: TaskResult) -> None:
    parts = [value(grounded, "CNR", PHRASE, finding) for finding in ("Alpha", "Beta")]
    assert value(grounded, "CNR", PHRASE) == pytest.approx(np.mean(parts))
    table = [row for row in grounded.predictions.to_pylist() if row["setting"] == PHRASE]
    assert len(table) == 24
    assert np.mean([row["CNR"] for row in table if row["finding"] == "Alpha"]) == pytest.approx(parts[0])
    assert {row["words"] for row in table} == {f"{side} sided {name}" for side in ("left", "right") for name in ("alpha", "beta")}
    assert all(row["middle"] is None for row in table)


def test_each_image_is_encoded_once_and_each_text_once(store: BlobStore) -> None:
    encoder = GridEncoder()
    run(encoder, store, config(ground={"skip_sides": True, "pictures": 0, "reference": 7}))
    assert encoder.images_seen == len(store.rows("test")) + len(store.rows("val")) + 7
    assert len(encoder.texts_seen) == len(set(encoder.texts_seen)) == 4


class Biased(GridEncoder):
    """Every cell says something of every phrase whatever the image, and says it louder than what it sees."""

    def dense_pixels(self, pixels: Any) -> np.ndarray:
        dense = super().dense_pixels(pixels)
        pattern = np.random.default_rng(0).normal(size=dense.shape[1:])
        return dense + 5 * pattern.astype(dense.dtype)


def test_what_a_place_says_whatever_the_image_drowns_the_phrase_and_centring_takes_it_off(
    store: BlobStore, grounded: TaskResult
) -> None:
    biased = run(Biased(), store, config())
    assert value(biased, "pointing", PHRASE) < 0.5
    for setting, metric, label in (
        (CENTRED, "pointing", "macro"),
        (CENTRED, "AUROC", "macro"),
        (ORIGINAL + ENDING, RIGHT, ""),
        (BOTH + ENDING, SHIFT, ""),
    ):
        assert value(biased, metric, setting, label) == pytest.approx(value(grounded, metric, setting, label), abs=1e-5)
    assert value(grounded, "pointing", CENTRED) == 1
    assert biased.protocol["images of the mean"] == len(store.rows("train"))


def test_a_centred_map_of_a_model_that_sees_no_image_is_flat_and_without_images_there_is_none(store: BlobStore) -> None:
    blind = run(GridEncoder(sees=False, attends=False, name="blind"), store, config())
    assert value(blind, "AUROC", CENTRED) == 0.5
    none = run(GridEncoder(), store, config(ground={"reference": 0}))
    assert not [row for row in none.rows if row.setting.endswith("centred")]


def test_test_regions_have_no_influence_on_thresholds_and_priors(store: BlobStore, grounded: TaskResult) -> None:
    other = build_blobs(96)
    for row in other.rows("test"):
        other._rows[row]["masks"] = [np.roll(other._rows[row]["masks"][0], 5, axis=1)]
    changed = run(GridEncoder(), other, config())
    assert changed.protocol["thresholds"] == grounded.protocol["thresholds"]
    assert changed.protocol["centre prior"] == grounded.protocol["centre prior"]
    assert value(changed, "IoU", PHRASE) < value(grounded, "IoU", PHRASE)
    for row in other.rows("val"):
        other._rows[row]["masks"] = [np.pad(np.ones((12, 12), bool), 2)]
    moved = run(GridEncoder(), other, config())
    assert moved.protocol["thresholds"][PHRASE] != grounded.protocol["thresholds"][PHRASE]
    for row in other.rows("train"):
        other._rows[row]["masks"] = [np.pad(np.ones((2, 2), bool), ((0, 14), (14, 0)))]
    learned = run(GridEncoder(), other, config())
    assert value(learned, "AUROC", CENTRE) != value(moved, "AUROC", CENTRE)
    assert value(learned, "AUROC", PHRASE) == value(moved, "AUROC", PHRASE)


def test_without_validation_regions_there_is_no_overlap(store: BlobStore) -> None:
    other = build_blobs(96)
    for row in other.rows("val"):
        other._rows[row] |= {"regions": [], "masks": []}
    result = run(GridEncoder(), other, config())
    row = result.find("IoU", "macro", PHRASE)
    assert row is not None
    assert row.value is None
    assert value(result, "pointing", PHRASE) == 1
    assert any("no IoU and no Dice" in note for note in result.notes)


def test_a_map_lies_where_the_model_looked(store: BlobStore) -> None:
    """With a crop the border is not seen; blobs that lie in the middle are still found where they are."""
    inner = build_blobs(96)
    for row in range(len(inner)):
        mask = np.zeros((16, 16), bool)
        left = 4 if inner.regions(row)[0].phrase.startswith("right") else 8
        mask[6:10, left : left + 4] = True
        inner._rows[row] |= {"masks": [mask], "pixels": np.where(mask, inner.pixels(row).max(), 20).astype(np.uint8)}
    assert value(run(GridEncoder(crop=0.75), inner, config()), "pointing", PHRASE) == 1
    shrunk = GridEncoder(crop=0.75)
    shrunk._grid = lambda image: GridEncoder._grid(GridEncoder(crop=1.0), image)  # type: ignore[method-assign]
    assert value(run(shrunk, inner, config()), "CNR", PHRASE) < value(run(GridEncoder(crop=0.75), inner, config()), "CNR", PHRASE)


def test_grounding_follows_sides(grounded: TaskResult) -> None:
    """Phrase and image agree in the first and the last measurement; in between they pull at the map from two sides."""
    for setting in (ORIGINAL, BOTH):
        assert value(grounded, RIGHT, setting, "") == 1
    for setting in (SWAPPED, MIRRORED):
        assert 0.1 < value(grounded, SHIFT, setting, "") < value(grounded, SHIFT, BOTH, "") - 0.1
    low = grounded.find(SHIFT, "", SWAPPED)
    assert low is not None
    assert low.low is not None
    assert low.low > 0.1
    assert grounded.protocol["sides"] == {"queries": 24, "phrase and region agree": 1.0}
    middles = {row["setting"]: row["middle"] for row in grounded.predictions.to_pylist() if row["row_id"] == "r072"}
    assert middles[BOTH] == pytest.approx(-middles[ORIGINAL], abs=1e-6)


def test_an_encoder_deaf_to_sides_does_not_move_when_they_are_swapped(store: BlobStore) -> None:
    result = run(GridEncoder(knows_sides=False, name="deaf"), store, config())
    assert value(result, RIGHT, ORIGINAL, "") == 1
    assert value(result, RIGHT, SWAPPED, "") == 0
    assert value(result, SHIFT, SWAPPED, "") == 0
    assert value(result, SHIFT, MIRRORED, "") > 0.3


def test_an_encoder_that_only_reads_does_not_move_when_the_image_is_mirrored(store: BlobStore) -> None:
    result = run(GridEncoder(sees=False, name="reader"), store, config())
    assert value(result, RIGHT, ORIGINAL, "") == 1
    assert value(result, RIGHT, SWAPPED, "") == 1
    assert value(result, SHIFT, MIRRORED, "") == pytest.approx(0, abs=1e-6)
    assert value(result, RIGHT, MIRRORED, "") == 0


def test_a_store_with_sides_the_other_way_round_is_named(store: BlobStore) -> None:
    other = build_blobs(96)
    for row in range(len(other)):
        other._rows[row] |= {"pixels": other.pixels(row)[:, ::-1].copy(), "masks": [other._rows[row]["masks"][0][:, ::-1]]}
    result = run(GridEncoder(), other, config())
    assert result.protocol["sides"]["phrase and region agree"] == 0
    assert any("in 0 % of queries only" in note for note in result.notes)


def test_phrases_without_sides_leave_the_side_measure_out(store: BlobStore) -> None:
    result = run(GridEncoder(), store, config(ground={"words": "prompt"}))
    assert not [row for row in result.rows if row.setting.startswith("sides")]
    assert result.protocol["words"] == {"stored phrases": 0, "prompts of the finding": 24}


def test_boxes_count_as_filled_boxes(store: BlobStore, grounded: TaskResult) -> None:
    boxes = run(GridEncoder(), build_blobs(96, masks=False), config())
    assert value(boxes, "IoU", PHRASE) == value(grounded, "IoU", PHRASE)


def test_strange_and_rare_words_empty_regions_and_black_images_are_named() -> None:
    store = build_blobs(96)
    first, second, third = store.rows("test")[:3]
    store._rows[first]["regions"] = [StoredRegion("Gamma", (0, 0, 4, 4), False, "", "xyzzy qwerty")]
    store._rows[second] |= {"masks": [np.zeros((16, 16), bool)]}
    store._rows[third] |= {"pixels": np.zeros((16, 16), np.uint8)}
    result = run(GridEncoder(), store, config())
    assert "1 wordings have no word that grid knows, e.g. 'xyzzy qwerty'." in result.notes
    assert "1 regions without a pixel were left out." in result.notes
    assert "Fewer than 10 queries, so hardly a number: Gamma." in result.notes
    assert result.protocol["empty regions left out"] == {"test": 1, "train": 0, "val": 0}
    black = [row for row in result.predictions.to_pylist() if row["row_id"] == f"r{third:03d}" and row["setting"] == PHRASE]
    assert 0 <= black[0]["pointing"] <= 1
    assert np.isfinite(black[0]["CNR"])


def test_smoothing_reaches_the_maps(store: BlobStore, grounded: TaskResult) -> None:
    smooth = run(GridEncoder(), store, config(ground={"smooth": 1.5}))
    assert smooth.protocol["smoothing"] == "Gaussian, 1.5 cells"
    assert value(smooth, "CNR", PHRASE) < value(grounded, "CNR", PHRASE)
    assert "--ground.smooth 1.5" in smooth.protocol["options"]


@pytest.mark.parametrize(
    ("encoder", "values", "message"),
    [
        (GridEncoder(findings=["Alpha"]), {}, "no dense features comparable with text"),
        (GridEncoder(), {"folds": 3}, "no folds"),
        (GridEncoder(), {"where": ["projection=AP"]}, "no image in the store"),
        (GridEncoder(), {"label": ["Gamma"]}, "shows 'Gamma'"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_error(
    store: BlobStore, encoder: GridEncoder, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(encoder, store, config(**values))


def test_a_store_or_a_split_without_regions_is_refused(store: BlobStore) -> None:
    with pytest.raises(UserError, match="has no regions"):
        run(GridEncoder(), build_blobs(regions=False), config())
    other = build_blobs(96)
    for row in other.rows("test"):
        other._rows[row] |= {"regions": [], "masks": []}
    with pytest.raises(UserError, match="no region of the test split"):
        run(GridEncoder(), other, config())


def test_an_encoder_without_dense_features_is_refused(store: BlobStore) -> None:
    class Plain:
        name, fingerprint, findings = "plain", "x", list[str]()

    with pytest.raises(UserError, match="plain has no dense features"):
        run(Plain(), store, config())  # type: ignore[arg-type]
