from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.evaluation import box_matching
from lingula.evaluation.box_matching import Matches, box_overlaps, match_boxes
from lingula.evaluation.detection import FoundBoxes, TrueBoxes
from lingula.evaluation.detection_scores import OVERLAPS


def true(*boxes: list[float], labels: list[int] | None = None) -> TrueBoxes:
    return TrueBoxes(np.array(boxes, float).reshape(-1, 4), np.array(labels or [0] * len(boxes), np.int64))


def found(*boxes: list[float], scores: list[float], labels: list[int] | None = None) -> FoundBoxes:
    return FoundBoxes(
        np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(labels or [0] * len(boxes), np.int64)
    )


def world(seed: int, images: int = 12, classes: int = 2) -> tuple[list[TrueBoxes], list[FoundBoxes]]:
    """Random boxes; found ones are true ones moved, or nothing."""
    rng = np.random.default_rng(seed)
    truth, said = [], []
    for _ in range(images):
        corner, side = rng.uniform(0, 60, (rng.integers(0, 4), 2)), rng.uniform(5, 35, 2)
        boxes = np.concatenate([corner, corner + side], axis=1)
        labels = rng.integers(0, classes, len(boxes))
        moved = np.concatenate([boxes + rng.normal(0, 3, boxes.shape), boxes + rng.normal(0, 6, boxes.shape)])
        stray = rng.uniform(0, 60, (rng.integers(0, 3), 2))
        moved = np.concatenate([moved, np.concatenate([stray, stray + 20], axis=1)])
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        scores = np.sort(rng.permutation(10_000)[: len(moved)] / 10_000)[::-1]
        names = np.concatenate([labels, labels, rng.integers(0, classes, len(stray))])
        order = rng.permutation(len(moved))
        truth.append(TrueBoxes(boxes, labels))
        said.append(FoundBoxes(moved[order], scores.copy(), names[order]))
    return truth, said


def coco(truth: list[TrueBoxes], said: list[FoundBoxes], classes: int) -> np.ndarray:
    """Average precision of faster-coco-eval, `classes thresholds`; -1 where a class has no box."""
    from faster_coco_eval import COCO, COCOeval_faster

    boxes, results = [], []
    for image, (own, each) in enumerate(zip(truth, said, strict=True), start=1):
        for box, label in zip(own.boxes.tolist(), own.labels.tolist(), strict=True):
            wide = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            boxes.append({"bbox": wide, "area": wide[2] * wide[3], "iscrowd": 0, "category_id": label + 1, "image_id": image})
        for box, score, label in zip(each.boxes.tolist(), each.scores.tolist(), each.labels.tolist(), strict=True):
            wide = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            results.append({"bbox": wide, "score": score, "category_id": label + 1, "image_id": image})
    gold = COCO(
        {
            "images": [{"id": image, "width": 200, "height": 200} for image in range(1, len(truth) + 1)],
            "annotations": [box | {"id": number} for number, box in enumerate(boxes, start=1)],
            "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
        }
    )
    judge = COCOeval_faster(gold, gold.loadRes(results), iouType="bbox")
    judge.params.iouThrs = np.array(OVERLAPS)
    judge.evaluate()
    judge.accumulate()
    precision = np.array(judge.eval["precision"])[:, :, :, 0, -1]  # thresholds recalls classes
    return precision.mean(axis=1).T


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_equals_faster_coco_eval(seed: int) -> None:
    truth, said = world(seed)
    theirs = coco(truth, said, 2)
    for label in range(2):
        ours = Matches.of(truth, said, label, OVERLAPS).average_precision(np.ones((1, len(truth))))[0]
        np.testing.assert_allclose(ours, theirs[label], atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_weight_is_as_many_equal_images(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_matching, "CELLS", 150)  # several blocks
    truth, said = world(seed, classes=1)
    weights = np.random.default_rng(seed).integers(0, 4, (9, len(truth)))
    matches = Matches.of(truth, said, 0, OVERLAPS)
    precision, sensitivity = matches.average_precision(weights), matches.sensitivity(weights, 2, [0.5, 2.0])
    for row, counts in enumerate(weights):
        drawn = [number for number, count in enumerate(counts) for _ in range(count)]
        again = Matches.of([truth[i] for i in drawn], [said[i] for i in drawn], 0, OVERLAPS)
        once = np.ones((1, len(drawn)))
        np.testing.assert_allclose(precision[row], again.average_precision(once)[0], atol=1e-12)
        np.testing.assert_allclose(sensitivity[row], again.sensitivity(once, 2, [0.5, 2.0])[0], atol=1e-12)


def slow_precision(truth: list[TrueBoxes], said: list[FoundBoxes], threshold: float) -> float:
    """Average precision of one class by its definition: the best precision at that recall or a higher one."""
    ranked = sorted(
        ((-float(score), image, number) for image, each in enumerate(said) for number, score in enumerate(each.scores)),
    )
    taken: set[tuple[int, int]] = set()
    curve, hits = [], 0
    for place, (_, image, number) in enumerate(ranked, start=1):
        overlaps = {
            other: float(box_overlaps(said[image].boxes[number][None], own[None])[0, 0])
            for other, own in enumerate(truth[image].boxes)
            if (image, other) not in taken
        }
        best = max(overlaps, key=lambda other: (overlaps[other], other), default=None)
        if best is not None and overlaps[best] >= threshold:
            taken.add((image, best))
            hits += 1
        curve.append((hits / sum(len(own.boxes) for own in truth), hits / place))
    return float(np.mean([max((p for r, p in curve if r >= recall), default=0.0) for recall in np.linspace(0, 1, 101)]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from(OVERLAPS))
def test_average_precision_equals_its_definition(seed: int, images: int, threshold: float) -> None:
    truth, said = world(seed, images, classes=1)
    ours = Matches.of(truth, said, 0, [threshold]).average_precision(np.ones((1, images)))[0, 0]
    if not sum(len(own.boxes) for own in truth):
        assert np.isnan(ours)
        return
    assert ours == pytest.approx(slow_precision(truth, said, threshold), abs=1e-12)


def test_overlap_in_closed_form() -> None:
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    b = np.array([[5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 10, 10], [2, 2, 4, 4], [0, 0, 0, 0]], float)
    np.testing.assert_allclose(box_overlaps(a, b), [[50 / 150, 0, 1, 0.04, 0], [0, 0, 0, 0, 0]])


def test_each_true_box_is_hit_once_by_the_best() -> None:
    overlaps = np.array([[0.6, 0.45], [0.9, 0.5], [0.7, 0.1]])
    hits = match_boxes(overlaps, [0.4, 0.5, 0.65])
    assert hits.tolist() == [[True, True, False], [True, True, False], [False, True, False]]
    assert match_boxes(np.zeros((2, 0)), [0.5]).tolist() == [[False, False]]
    assert match_boxes(np.zeros((0, 2)), [0.5]).shape == (1, 0)


def test_sensitivity_by_hand() -> None:
    """Hit, false, hit, false, false over 2 images and 4 true boxes."""
    truth = [true([0, 0, 10, 10], [20, 20, 30, 30]), true([0, 0, 10, 10], [50, 50, 60, 60])]
    said = [
        found([0, 0, 10, 10], [70, 70, 80, 80], scores=[0.9, 0.8]),
        found([0, 0, 10, 10], [70, 70, 80, 80], [80, 80, 90, 90], scores=[0.7, 0.6, 0.5]),
    ]
    matches = Matches.of(truth, said, 0, [0.5])
    rates = [0.0, 0.5, 1.0, 1.5]
    np.testing.assert_allclose(matches.sensitivity(np.ones((1, 2)), 0, rates)[0], [0.25, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(matches.sensitivity(np.array([[0, 1]]), 0, rates)[0], [0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(matches.average_precision(np.ones((1, 2)))[0, 0], (26 * 1 + 25 * 2 / 3) / 101)
    assert np.isnan(matches.average_precision(np.zeros((1, 2)))).all()
