from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.evaluation.comparison import paired_difference
from lingula.evaluation.result import TaskResult
from lingula.evaluation.segmentation_rows import mask_columns, masks_from_columns, mgca_rows, strict_rows
from lingula.evaluation.segmentation_scores import (
    STRICT,
    THRESHOLDS,
    PixelCounts,
    ScoredMasks,
    mgca_dice,
    strict_metrics,
)

AREA = 100


def drawn(seed: int, images: int = 30, findings: int = 2, units: int = 2) -> tuple[ScoredMasks, np.ndarray, np.ndarray]:
    """Random masks and predictions with their counts; truth and prediction as pixels."""
    generator = np.random.default_rng(seed)
    truth = generator.random((images, findings, AREA)) < 0.2
    truth[generator.random((images, findings)) < 0.4] = False
    found = truth[None] ^ (generator.random((units, images, findings, AREA)) < 0.1)
    found[generator.random((units, images, findings)) < 0.3] = False
    unknown = generator.random((images, findings)) < 0.2
    counts = [each.sum(axis=-1).astype(float) for each in (truth, found, found & truth[None])]
    for each in counts:
        each[..., unknown] = np.nan
    scored = ScoredMasks(
        row_ids=[f"r{i:03}" for i in range(images)],
        patients=[f"p{i // 2}" for i in range(images)],
        findings=["Edema", "Nodule"][:findings],
        area=AREA,
        truth=counts[0],
        predicted=counts[1],
        overlap=counts[2],
        predicted_half=counts[1],
        overlap_half=counts[2],
        thresholds=np.full((units, findings), 0.3),
    )
    return scored, truth, found


def slow_strict(scored: ScoredMasks, truth: np.ndarray, found: np.ndarray, images: list[int], column: int) -> list[float]:
    """The five metrics of one unit, image by image."""
    dice, jaccard, quiet, false, both, total = [], [], [], [], 0, 0
    for image in images:
        if np.isnan(scored.truth[image, column]):
            continue
        t, p = truth[image, column], found[image, column]
        both, total = both + 2 * int((t & p).sum()), total + int(t.sum() + p.sum())
        if t.any():
            dice.append(2 * (t & p).sum() / (t.sum() + p.sum()))
            jaccard.append((t & p).sum() / (t | p).sum())
        else:
            quiet.append(not p.any())
            false.append(p.mean())
    return [np.mean(dice), np.mean(jaccard), both / total, np.mean(quiet), np.mean(false)]


@pytest.mark.parametrize("seed", range(4))
def test_strict_metrics_are_the_slow_ones_also_under_weights(seed: int) -> None:
    scored, truth, found = drawn(seed)
    generator = np.random.default_rng(seed)
    weights = np.concatenate([np.ones((1, 30)), generator.integers(0, 3, (3, 30))])
    measured = scored.measure(weights)
    for resample, times in enumerate(weights.astype(int)):
        images = [image for image, count in enumerate(times) for _ in range(count)]
        for column in range(2):
            expected = np.mean([slow_strict(scored, truth, each, images, column) for each in found], axis=0)
            np.testing.assert_allclose(measured[resample, :, column], expected, rtol=1e-12)


def test_the_two_scorers_by_hand() -> None:
    """Four images: half found; healthy and quiet; healthy with one wrong pixel; missed. Batches of three."""
    truth, predicted, overlap = np.array([10.0, 0, 0, 20]), np.array([10.0, 0, 1, 0]), np.array([5.0, 0, 0, 0])
    assert mgca_dice(truth, predicted, overlap, 3) == pytest.approx(((0.5 + 1 + 0) / 3 + 0) / 2)
    assert mgca_dice(truth, predicted, overlap, 4) == pytest.approx(1.5 / 4)
    assert mgca_dice(truth, predicted, overlap, 3, drop_last=True) == pytest.approx(0.5)
    assert mgca_dice(truth[:2], predicted[:2], overlap[:2], 3, drop_last=True) == pytest.approx(0.75)
    strict = strict_metrics(truth, predicted, overlap, AREA, np.ones((1, 4)))[0]
    assert dict(zip(STRICT, strict, strict=True)) == pytest.approx(
        {"Dice": 0.25, "IoU": 5 / 30, "pooled Dice": 10 / 41, "specificity": 0.5, "false area": 0.005}
    )


def test_an_empty_last_batch_of_unknown_images_does_not_count() -> None:
    nan = np.nan
    assert mgca_dice(np.array([nan, 4, nan]), np.array([nan, 4, nan]), np.array([nan, 4, nan]), 1) == 1
    assert np.isnan(mgca_dice(np.array([nan]), np.array([nan]), np.array([nan]), 1))
    healthy = strict_metrics(np.zeros(3), np.zeros(3), np.zeros(3), AREA, np.ones((1, 3)))[0]
    assert np.isnan(healthy[:3]).all()
    np.testing.assert_array_equal(healthy[3:], [1, 0])


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_ranges_and_the_relation_of_dice_and_iou(seed: int) -> None:
    scored, _, _ = drawn(seed, images=12, findings=1, units=1)
    dice, jaccard, pooled, specificity, area = scored.measure(np.ones((1, 12)))[0, :, 0]
    for value in (dice, jaccard, pooled, specificity, area):
        assert np.isnan(value) or 0 <= value <= 1
    if not np.isnan(dice):
        assert jaccard <= dice <= 2 * jaccard / (1 + jaccard) + 1e-12, "Jensen: d = 2 j / (1 + j) is concave"


def test_perfect_and_chance() -> None:
    scored, _, _ = drawn(0)
    perfect = ScoredMasks(**vars(scored) | {name: np.stack([scored.truth] * 2) for name in ("predicted", "overlap")})
    values = perfect.measure(np.ones((1, 30)))[0]
    np.testing.assert_array_equal(values[:4], 1)
    np.testing.assert_array_equal(values[4], 0)
    there = scored.truth[:, 0] > 0
    everywhere = scored.constant(True).measure(np.ones((1, 30)))[0, :, 0]
    assert everywhere[0] == pytest.approx(np.mean(2 * scored.truth[there, 0] / (AREA + scored.truth[there, 0])))
    assert everywhere[1] == pytest.approx(np.mean(scored.truth[there, 0] / AREA))
    known = ~np.isnan(scored.truth[:, 0])
    assert scored.constant(False).mgca(1)[0] == pytest.approx((scored.truth[known, 0] == 0).mean())


def test_thresholds_maximise_pooled_dice_on_the_counts_given() -> None:
    places = {value: place for place, value in enumerate(THRESHOLDS)}
    predicted = np.zeros((2, 3, len(THRESHOLDS)))
    overlap = np.zeros_like(predicted)
    truth = np.array([[10.0, 0, 10], [0, 0, np.nan]])
    predicted[0, 0], overlap[0, 0] = 50, 10
    predicted[0, 0, places[0.4] : places[0.6] + 1] = 12
    predicted[1, 1] = 30
    predicted[1, 2] = overlap[1, 2] = np.nan
    predicted[0, 2], overlap[0, 2] = 20, 10
    thresholds, dice = PixelCounts(truth, predicted, overlap, AREA).best()
    np.testing.assert_array_equal(thresholds[:2], [0.5, 0.5])
    assert dice[0] == pytest.approx(20 / 22)
    assert np.isnan(dice[1])
    assert dice[2] == pytest.approx(20 / 30)
    at = PixelCounts(truth, predicted, overlap, AREA).at(np.array([0.4, 0.5, 0.95]))
    np.testing.assert_array_equal(at[0][0], [12, 0, 20])


def test_rows_carry_intervals_over_patients_counts_and_chance() -> None:
    scored, _, _ = drawn(1)
    rows = {(row.metric, row.label): row for row in strict_rows(scored, samples=200, seed=0, setting="10 %")}
    assert len(rows) == len(STRICT) * 3
    known = ~np.isnan(scored.truth[:, 0])
    positive = int((scored.truth[:, 0] > 0).sum())
    assert rows["Dice", "Edema"].n == rows["Dice", "Edema"].positives == positive
    assert rows["specificity", "Edema"].n == int(known.sum()) - positive
    assert rows["pooled Dice", "Edema"].n == int(known.sum())
    macro = rows["Dice", "macro"]
    assert macro.value == pytest.approx((rows["Dice", "Edema"].value + rows["Dice", "Nodule"].value) / 2)
    assert all(row.low < row.value < row.high for row in rows.values())
    assert rows["specificity", "Edema"].chance is None
    published = mgca_rows(scored, batch=8)
    assert [row.label for row in published] == ["Edema", "Nodule", "macro"]
    assert published[0].low is None
    assert published[0].value == pytest.approx(scored.mgca(8)[0])
    assert published[0].value != pytest.approx(rows["Dice", "Edema"].value)


def test_the_table_of_predictions_holds_everything() -> None:
    scored, _, _ = drawn(2)
    columns = {name: np.asarray(values) for name, values in mask_columns(scored, "x").items()}
    again = masks_from_columns(columns)
    assert again.row_ids == [name for name, known in zip(scored.row_ids, ~np.isnan(scored.truth), strict=True) if known.any()]
    kept = scored.take(np.flatnonzero((~np.isnan(scored.truth)).any(axis=1)))
    for name in ("truth", "predicted", "overlap", "predicted_half", "thresholds"):
        np.testing.assert_array_equal(getattr(again, name), getattr(kept, name))
    assert (again.patients, again.findings, again.area) == (kept.patients, kept.findings, AREA)


def test_two_models_are_compared_on_the_same_patients_and_masks_only() -> None:
    import pyarrow as pa

    def result(seed: int, predicted: float = 1.0) -> TaskResult:
        scored, _, _ = drawn(seed)
        scored = ScoredMasks(**vars(scored) | {"overlap": np.floor(scored.overlap * predicted)})
        names = {"encoder": "a", "encoder_fingerprint": "a", "store": "s", "store_fingerprint": "s", "split": "test"}
        return TaskResult(task="segment", rows=[], **names).with_predictions(pa.table(mask_columns(scored, "x")))

    rows = paired_difference(result(3), result(3, predicted=0.5), samples=50)
    dice = next(row for row in rows if (row.metric, row.label) == ("Dice", "macro"))
    assert 0 < dice.low < dice.value < dice.high
    assert all(row.value == 0 for row in paired_difference(result(3), result(3), samples=0))
    with pytest.raises(Exception, match="not scored on the same"):
        paired_difference(result(3), result(4), samples=0)
