from __future__ import annotations

import numpy as np
import pytest

from lingula.evaluation.detection import FoundBoxes, TrueBoxes
from lingula.evaluation.detection_scores import METRICS, OVERLAPS, Detections, detection_rows, strict_map

BOX = [0.0, 0.0, 10.0, 10.0]
ELSEWHERE = [40.0, 40.0, 50.0, 50.0]
NONE = TrueBoxes(np.zeros((0, 4)), np.zeros(0, np.int64))


def true(*boxes: list[float], labels: list[int] | None = None) -> TrueBoxes:
    return TrueBoxes(np.array(boxes, float), np.array(labels or [0] * len(boxes), np.int64))


def found(*boxes: list[float], scores: list[float], labels: list[int] | None = None) -> FoundBoxes:
    return FoundBoxes(np.array(boxes, float), np.array(scores), np.array(labels or [0] * len(boxes), np.int64))


def detections(truth: list[TrueBoxes], *units: list[FoundBoxes | None], classes: int = 1) -> Detections:
    names = [f"r{number}" for number in range(len(truth))]
    return Detections(names, [f"p{number // 2}" for number in range(len(truth))], list("ab")[:classes], truth, list(units))


def value(rows: list, metric: str, label: str = "") -> float:
    return next(row.value for row in rows if (row.metric, row.label) == (metric, label))


def rows_of(each: Detections, **options) -> list:
    return detection_rows(each, **({"scorers": ("mgca", "strict"), "confidence": 0.5, "samples": 0, "seed": 0} | options))


def test_the_overlaps_are_the_published_ones() -> None:
    assert OVERLAPS == (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75)


def test_mgca_forgets_what_strict_counts() -> None:
    """A hit, a false box in a healthy image with a higher score, and an image in which nothing is found: by hand."""
    truth = [true(BOX), NONE, true(BOX), NONE]
    said = [found(BOX, scores=[0.8]), found(BOX, scores=[0.9]), FoundBoxes.nothing(), FoundBoxes.nothing()]
    rows = rows_of(detections(truth, said))
    assert value(rows, "mAP (mgca)") == pytest.approx(1.0)
    assert value(rows, "mAP (strict)") == pytest.approx(0.5 * 51 / 101), "precision 1/2 up to recall 1/2"
    assert value(rows, "AP50 (strict)") == pytest.approx(0.5 * 51 / 101)
    assert value(rows, "sensitivity at 0.5 FP per image (strict)") == pytest.approx(0.5)
    assert {(row.metric.split()[-1], row.n) for row in rows} == {("(mgca)", 1), ("(strict)", 4)}
    assert {row.positives for row in rows} == {2}


def test_mgca_does_not_see_low_scores_and_strict_does() -> None:
    truth = [true(BOX), true(BOX)]
    said = [found(BOX, scores=[0.49]), found(ELSEWHERE, BOX, scores=[0.9, 0.3])]
    rows = rows_of(detections(truth, said))
    assert value(rows, "mAP (mgca)") == 0
    assert value(rows, "mAP (strict)") > 0.5
    assert value(rows_of(detections(truth, said), confidence=0.2), "mAP (mgca)") > 0.5


def test_nothing_found_at_all_is_zero_and_no_truth_is_undefined() -> None:
    nothing = [FoundBoxes.nothing()] * 2
    rows = rows_of(detections([true(BOX), NONE], nothing), samples=20)
    assert {row.value for row in rows} == {0.0}
    rows = rows_of(detections([NONE, NONE], nothing), samples=20)
    assert {row.value for row in rows} == {None}
    assert strict_map([true(BOX)], [FoundBoxes.nothing()], 1) == 0
    assert np.isnan(strict_map([NONE], [found(BOX, scores=[0.9])], 1))


def test_the_mean_is_over_overlaps_classes_and_units() -> None:
    shifted = [0.0, 0.0, 10.0, 6.2]  # overlap 0.62: right up to 0.60, five of the eight
    truth = [true(BOX, ELSEWHERE, labels=[0, 1]), true(BOX)]
    one = [found(shifted, ELSEWHERE, scores=[0.9, 0.8], labels=[0, 1]), found(shifted, scores=[0.7])]
    two = [found(BOX, scores=[0.9]), found(BOX, scores=[0.7])]
    rows = rows_of(detections(truth, one, classes=2))
    assert value(rows, "mAP (strict)", "a") == pytest.approx(5 / 8)
    assert value(rows, "mAP (strict)", "b") == pytest.approx(1)
    assert value(rows, "mAP (strict)", "macro") == pytest.approx(13 / 16)
    assert value(rows, "AP50 (strict)", "a") == pytest.approx(1)
    both = rows_of(detections(truth, one, two, classes=2))
    assert value(both, "mAP (strict)", "a") == pytest.approx((5 / 8 + 1) / 2)
    assert value(both, "mAP (strict)", "b") == pytest.approx((1 + 0) / 2)
    positives = {row.label: row.positives for row in rows if row.metric == "mAP (mgca)"}
    assert positives == {"a": 2, "b": 1, "macro": None}


def test_a_unit_that_does_not_score_an_image_does_not_count_it() -> None:
    truth = [true(BOX), true(BOX), NONE]
    one: list[FoundBoxes | None] = [found(BOX, scores=[0.9]), None, None]
    two: list[FoundBoxes | None] = [None, FoundBoxes.nothing(), found(BOX, scores=[0.9])]
    rows = rows_of(detections(truth, one, two))
    assert value(rows, "mAP (strict)") == pytest.approx(0.5)
    assert value(rows, "mAP (mgca)") == pytest.approx(0.5)


def test_intervals_resample_patients() -> None:
    rng = np.random.default_rng(0)
    truth = [true(BOX) for _ in range(60)]
    said = [found(BOX if rng.random() < 0.6 else ELSEWHERE, scores=[rng.random()]) for _ in range(60)]
    rows = rows_of(detections(truth, said), samples=300)
    for row in rows:
        assert row.low is not None
        assert row.low <= row.value <= row.high
    strict = next(row for row in rows if row.metric == "mAP (strict)")
    assert 0.1 < strict.high - strict.low < 0.6
    same = Detections([str(n) for n in range(60)], ["p"] * 60, ["a"], truth, [said])
    alone = next(row for row in rows_of(same, samples=30) if row.metric == "mAP (strict)")
    assert alone.low == pytest.approx(alone.high), "one patient cannot vary"


def test_only_the_scorers_asked_for() -> None:
    rows = rows_of(detections([true(BOX)], [found(BOX, scores=[0.9])]), scorers=("strict",))
    assert tuple(row.metric for row in rows) == METRICS["strict"]
