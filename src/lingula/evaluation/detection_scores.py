"""The scorers of detection: `mgca`, as published with its quirk, and `strict`, in which every image counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lingula.evaluation.arrays import Statistics, Weights
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.box_matching import Matches
from lingula.evaluation.detection import FoundBoxes, TrueBoxes
from lingula.evaluation.metrics import nanmean
from lingula.evaluation.result import ResultRow, number
from lingula.evaluation.scored import MACRO

Scorer = Literal["mgca", "strict"]

OVERLAPS = tuple(round(0.40 + 0.05 * step, 2) for step in range(8))
"""0.40, 0.45, …, 0.75: the overlaps over which the published mAP is a mean."""
HALF = OVERLAPS.index(0.5)
RATES = (0.5, 2.0)
"""False positives per image at which the sensitivity is read."""
METRICS = {
    "mgca": ("mAP (mgca)",),
    "strict": ("mAP (strict)", "AP50 (strict)", *(f"sensitivity at {rate:g} FP per image (strict)" for rate in RATES)),
}
"""Scorer to the numbers it gives; AP50 and the sensitivities are at an overlap of 0.50."""


@dataclass(frozen=True)
class Detections:
    """What one or several fitted detectors (units: random draws, folds) found in the same images.

    Args:
        row_ids: The store's name of each image.
        patients: The patient of each image.
        classes: Names of the classes.
        truth: The true boxes of each image.
        found: Per unit the found boxes of each image; None where the unit does not score the image.
    """

    row_ids: list[str]
    patients: list[str]
    classes: list[str]
    truth: list[TrueBoxes]
    found: list[list[FoundBoxes | None]]


class StrictScorer:
    """Every image counts, those without a true box and those in which nothing is found too.

    Mean over overlaps 0.40 to 0.75 of COCO's average precision, COCO's own AP50, and the free-response sensitivities.

    Args:
        truth: The true boxes of each image.
        found: What was found in each image; None: not scored, the image does not count.
        classes: How many classes there are.
    """

    def __init__(self, truth: Sequence[TrueBoxes], found: Sequence[FoundBoxes | None], classes: int) -> None:
        self.counted = np.array([each is not None for each in found], bool)
        said = [FoundBoxes.nothing() if each is None else each for each in found]
        own = [each if counts else _NO_TRUTH for each, counts in zip(truth, self.counted, strict=True)]
        self.matches = [Matches.of(own, said, label, OVERLAPS) for label in range(classes)]

    def measure(self, weights: Weights) -> Statistics:
        """Return the metrics of `METRICS` of every class, `resamples metrics classes`."""
        weights = weights * self.counted
        values = []
        for matches in self.matches:
            precision = matches.average_precision(weights)
            sensitivity = matches.sensitivity(weights, HALF, RATES)
            values.append(np.stack([precision.mean(axis=1), precision[:, HALF], *sensitivity.T], axis=1))
        return np.stack(values, axis=2)


class MgcaScorer:
    """The published number, with its quirk: an image counts only if it has a true box and a found one.

    MGCA's detection code hands an image to its mAP only when it has both. So boxes found in healthy images and images in which
    nothing is found are forgotten, and the number is higher than an honest one; it is here to compare with published tables.
    Found boxes below a confidence are not seen. Where no true box of a class
    lies in an image that counts (nothing was found at all), its mAP is 0.

    Args:
        truth: The true boxes of each image.
        found: What was found in each image; None: not scored.
        classes: How many classes there are.
        confidence: Lowest score that is seen.
    """

    def __init__(self, truth: Sequence[TrueBoxes], found: Sequence[FoundBoxes | None], classes: int, confidence: float) -> None:
        seen = [FoundBoxes.nothing() if each is None else each.above(confidence) for each in found]
        self.counted = np.array([len(own.boxes) > 0 and len(said.boxes) > 0 for own, said in zip(truth, seen, strict=True)], bool)
        said = [each if counts else FoundBoxes.nothing() for each, counts in zip(seen, self.counted, strict=True)]
        own = [each if counts else _NO_TRUTH for each, counts in zip(truth, self.counted, strict=True)]
        self.matches = [Matches.of(own, said, label, OVERLAPS) for label in range(classes)]
        scored = [each is not None for each in found]
        self.truths = np.array(
            [[float(ok * (own.labels == label).sum()) for own, ok in zip(truth, scored, strict=True)] for label in range(classes)]
        )

    def measure(self, weights: Weights) -> Statistics:
        """Return the mAP of every class, `resamples metrics classes`."""
        counted = weights * self.counted
        values = [matches.average_precision(counted).mean(axis=1) for matches in self.matches]
        stacked = np.stack(values, axis=1)
        there = weights @ self.truths.T > 0
        return np.where(np.isnan(stacked) & there, 0.0, stacked)[:, None]


_NO_TRUTH = TrueBoxes(np.zeros((0, 4)), np.zeros(0, np.int64))


def strict_map(truth: Sequence[TrueBoxes], found: Sequence[FoundBoxes], classes: int) -> float:
    """Return the strict mAP, mean over classes: what early stopping looks at."""
    values = StrictScorer(truth, found, classes).measure(np.ones((1, len(truth))))
    return float(nanmean(values[0, 0], axis=0))


def detection_rows(
    detections: Detections, scorers: Sequence[str], confidence: float, samples: int, seed: int, setting: str = ""
) -> list[ResultRow]:
    """Turn detections into result rows with 95 % intervals over patients; a number is the mean over the units.

    Args:
        detections: What was found.
        scorers: Which scorers, of `METRICS`.
        confidence: Lowest score that `mgca` sees.
        samples: Bootstrap resamples of patients.
        seed: Seed of the bootstrap.
        setting: Which variant of the task, e.g. the fraction of labels.
    """
    return [row for name in scorers for row in _rows(detections, name, confidence, samples, seed, setting)]


def _rows(detections: Detections, name: str, confidence: float, samples: int, seed: int, setting: str) -> list[ResultRow]:
    classes = len(detections.classes)
    units: list[StrictScorer | MgcaScorer] = [
        MgcaScorer(detections.truth, found, classes, confidence)
        if name == "mgca"
        else StrictScorer(detections.truth, found, classes)
        for found in detections.found
    ]

    def statistic(weights: Weights) -> Statistics:
        values = nanmean(np.stack([unit.measure(weights) for unit in units]), axis=0)
        if classes > 1:
            values = np.concatenate([values, nanmean(values, axis=2)[..., None]], axis=2)
        return values.reshape(len(weights), -1)

    value, low, high = bootstrap_interval(statistic, detections.patients, samples, seed)
    labels = [*detections.classes, MACRO] if classes > 1 else [""]
    images = round(float(np.mean([unit.counted.sum() for unit in units])))
    positives = [sum(bool((own.labels == label).any()) for own in detections.truth) for label in range(classes)]
    return [
        ResultRow(
            metric=metric,
            label=label,
            setting=setting,
            value=number(value[place]),
            low=number(low[place]),
            high=number(high[place]),
            n=images,
            positives=positives[place % len(labels)] if label != MACRO else None,
        )
        for place, (metric, label) in enumerate((m, each) for m in METRICS[name] for each in labels)
    ]
