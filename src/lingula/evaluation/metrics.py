"""Metrics of scores against binary targets, each for many weightings of the same images at once.

A weighting is a row of `weights`, `resamples images`: 1 everywhere is the sample itself, patient counts make a bootstrap
resample. Undefined values (a class without weight) are NaN.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lingula.evaluation.arrays import Array, Numbers, PerQuery, PerResample, Positive, Scores, Targets, Weights


def auroc(scores: Scores, targets: Targets) -> float:
    """Area under the ROC curve; ties count one half, NaN targets are left out, NaN where a class is missing."""
    known = ~np.isnan(targets)
    return float(weighted_auroc(scores[known], targets[known] == 1, np.ones((1, int(known.sum()))))[0])


def average_precision(scores: Scores, targets: Targets) -> float:
    """Area under the precision-recall curve as a step function; NaN targets are left out."""
    known = ~np.isnan(targets)
    return float(weighted_average_precision(scores[known], targets[known] == 1, np.ones((1, int(known.sum()))))[0])


def weighted_auroc(scores: Scores, positive: Positive, weights: Weights) -> PerResample:
    """AUROC of every weighting: P(score of a positive > score of a negative) + ½ P(equal)."""
    return ranking_metrics(scores, positive, weights)[0]


def weighted_average_precision(scores: Scores, positive: Positive, weights: Weights) -> PerResample:
    """Average precision of every weighting: Σ (recall step × precision) over the distinct thresholds."""
    return ranking_metrics(scores, positive, weights)[1]


def ranking_metrics(scores: Scores, positive: Positive, weights: Weights) -> tuple[PerResample, PerResample]:
    """AUROC and average precision of every weighting, from one sorting of the scores.

    Both follow from how much negative weight lies below, at and above each positive's score. Fast where `weights` lies
    in memory image by image (`resampled_weights` makes it so).
    """
    by_image = weights.T
    negatives, positives = _ascending(scores, ~positive), _ascending(scores, positive)
    below = np.zeros((len(negatives) + 1, len(weights)), by_image.dtype)
    np.cumsum(by_image[negatives], axis=0, out=below[1:])
    own = by_image[positives]
    level, others = scores[positives], scores[negatives]
    under = below[np.searchsorted(others, level, side="left")]
    area = np.einsum("ib,ib->b", own, under + below[np.searchsorted(others, level, side="right")]) / 2
    total = own.sum(axis=0)
    passed = np.zeros((len(positives) + 1, len(weights)), by_image.dtype)
    np.cumsum(own, axis=0, out=passed[1:])
    hits = total - passed[np.searchsorted(level, level, side="left")]
    misses = below[-1] - under
    precision = np.divide(hits, hits + misses, out=np.zeros_like(hits), where=hits > 0)
    return _ratio(area, total * below[-1]), _ratio(np.einsum("ib,ib->b", own, precision), total)


def _ascending(scores: Scores, chosen: Positive) -> Array:
    """Return the positions of the chosen images by ascending score."""
    places = np.flatnonzero(chosen)
    order: Array = places[np.argsort(scores[places], kind="stable")]
    return order


def decision_metrics(decisions: Positive, positive: Positive, weights: Weights) -> dict[str, PerResample]:
    """F1, MCC, sensitivity, specificity and balanced accuracy of yes/no decisions under every weighting."""
    cells = np.stack([positive & decisions, ~positive & decisions, positive & ~decisions, ~positive & ~decisions], axis=1)
    tp, fp, fn, tn = (weights @ cells.astype(weights.dtype)).T
    return confusion_metrics(tp, fp, fn, tn)


def confusion_metrics(tp: PerResample, fp: PerResample, fn: PerResample, tn: PerResample) -> dict[str, PerResample]:
    """F1, MCC, sensitivity, specificity and their mean, balanced accuracy, from the cells of confusion matrices.

    MCC is 0 where all decisions agree with each other (its usual continuation); each is NaN where a class is missing.
    """
    both = (tp + fn > 0) & (fp + tn > 0)
    root = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    mcc = np.divide(tp * tn - fp * fn, root, out=np.zeros_like(root), where=root > 0)
    sensitivity, specificity = _ratio(tp, np.where(both, tp + fn, 0)), _ratio(tn, np.where(both, tn + fp, 0))
    return {
        "F1": _ratio(2 * tp, np.where(both, 2 * tp + fp + fn, 0)),
        "MCC": np.where(both, mcc, np.nan),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced accuracy": (sensitivity + specificity) / 2,
    }


def best_threshold(scores: Scores, targets: Targets, criterion: Literal["f1", "mcc"] = "f1") -> float:
    """Return the threshold t whose rule "score ≥ t" maximises F1 or MCC; NaN where a class is missing.

    It lies half-way between two neighbouring scores. Call it on validation only.
    """
    known = ~np.isnan(targets)
    values, positive = scores[known], targets[known] == 1
    if not len(values) or positive.all() or not positive.any():
        return float("nan")
    levels, group = np.unique(-values, return_inverse=True)
    tp = np.cumsum(np.bincount(group, weights=positive, minlength=len(levels)))
    fp = np.cumsum(np.bincount(group, weights=~positive, minlength=len(levels)))
    quality = confusion_metrics(tp, fp, tp[-1] - tp, fp[-1] - fp)["F1" if criterion == "f1" else "MCC"]
    best = int(np.argmax(quality))
    return float(-levels[best] if best + 1 == len(levels) else -(levels[best] + levels[best + 1]) / 2)


def chance_average_precision(relevant: Numbers, total: Numbers) -> Numbers:
    """Expected average precision of a random order: (1/N)[H_N + (R − 1)(N − H_N)/(N − 1)], with H_N the harmonic number."""
    relevant, total = np.asarray(relevant, float), np.asarray(total, float)
    harmonic = np.append(0.0, np.cumsum(1.0 / np.arange(1, int(total.max(initial=1)) + 1)))[total.astype(int)]
    rest = np.divide((relevant - 1) * (total - harmonic), total - 1, out=np.zeros_like(relevant), where=total > 1)
    result: Numbers = np.where((relevant > 0) & (total > 0), (harmonic + rest) / np.maximum(total, 1), np.nan)
    return result


def chance_recall(right: PerQuery, total: int, k: int) -> PerQuery:
    """P(at least one of `right` answers among k drawn from `total`) = 1 − C(N − R, k) / C(N, k)."""
    return 1.0 - none_drawn(total - np.asarray(right, float), np.asarray(right, float), np.full(len(right), float(k)))


def none_drawn(wrong: PerQuery, right: PerQuery, drawn: PerQuery) -> PerQuery:
    """P(no right one among `drawn` of `wrong + right`, without replacement) = C(W, k) / C(W + R, k)."""
    result = np.ones(len(wrong))
    for index in range(int(drawn.max(initial=0))):
        left = np.maximum(wrong - index, 0.0)
        step = np.divide(left, left + right, out=np.zeros_like(left), where=left + right > 0)
        result = np.where(index < drawn, result * step, result)
    return result


def weighted_mean(values: PerQuery, weights: Weights) -> PerResample:
    """Mean over queries under every weighting."""
    return _ratio(weights @ values, weights.sum(axis=1))


def weighted_median(values: PerQuery, weights: Weights) -> PerResample:
    """Lower median over queries under every weighting."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weights[:, order], axis=1)
    half = np.argmax(mass >= mass[:, -1:] / 2, axis=1)
    return np.where(mass[:, -1] > 0, values[order][half], np.nan)


def nanmean(values: Numbers, axis: int) -> Numbers:
    """Mean of the defined values along an axis; NaN, without a warning, where there are none."""
    count = (~np.isnan(values)).sum(axis=axis)
    total = np.nansum(values, axis=axis)
    result: Numbers = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return result


def _ratio(above: PerResample, below: PerResample) -> PerResample:
    result: PerResample = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return result
