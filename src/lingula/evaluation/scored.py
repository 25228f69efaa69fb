"""Scores of several findings on the same images, and their numbers with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lingula.evaluation.arrays import Array, ImageScores, Numbers, PerFinding, Statistics, UnitScores, Weights
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.metrics import (
    best_threshold,
    chance_average_precision,
    decision_metrics,
    nanmean,
    ranking_metrics,
)
from lingula.evaluation.result import ResultRow, number

RANKING = ("AUROC", "AUPRC")
METRICS = (*RANKING, "F1", "MCC", "sensitivity", "specificity", "balanced accuracy")
MACRO, MICRO = "macro", "micro"
"""Labels of the mean over findings, and of all findings counted together."""


@dataclass(frozen=True)
class Scored:
    """What one or several fitted models (units: random draws, folds) say about findings in images.

    A metric is computed within each unit and then averaged over units, so scores of different fits are never mixed.

    Args:
        row_ids: The store's name of each image.
        patients: The patient of each image.
        findings: Names of the findings.
        targets: `images findings`; 1, 0, NaN where unknown.
        scores: `units images findings`; NaN where a unit does not score an image.
        thresholds: `units findings`, from validation; NaN where validation lacks a class.
        probabilities: `units images findings`, where the task has them.
    """

    row_ids: list[str]
    patients: list[str]
    findings: list[str]
    targets: ImageScores
    scores: UnitScores
    thresholds: Numbers
    probabilities: UnitScores | None = None

    def take(self, chosen: np.ndarray) -> Scored:
        """Return the same for some of the images, by position."""
        probabilities = None if self.probabilities is None else self.probabilities[:, chosen]
        names = [self.row_ids[i] for i in chosen], [self.patients[i] for i in chosen]
        return Scored(*names, self.findings, self.targets[chosen], self.scores[:, chosen], self.thresholds, probabilities)

    def measure(self, weights: Weights, metrics: Sequence[str] = METRICS) -> Numbers:
        """Compute metrics per finding under every weighting, averaged over units."""
        result = np.full((len(weights), len(metrics), len(self.findings)), np.nan)
        for column in range(len(self.findings)):
            units = np.stack([self._measure_unit(unit, column, weights, metrics) for unit in range(len(self.scores))])
            result[:, :, column] = nanmean(units, axis=0)
        return result

    def _measure_unit(self, unit: int, column: int, weights: Weights, metrics: Sequence[str]) -> np.ndarray:
        scores, threshold = self.scores[unit, :, column], self.thresholds[unit, column]
        known = ~np.isnan(self.targets[:, column]) & ~np.isnan(scores)
        scores, positive, weights = scores[known], self.targets[known, column] == 1, weights.T[known].T
        values: dict[str, Array] = dict(zip(RANKING, ranking_metrics(scores, positive, weights), strict=True))
        if not np.isnan(threshold) and set(metrics) - set(RANKING):
            values |= decision_metrics(scores >= threshold, positive, weights)
        undefined = np.full(len(weights), np.nan)
        return np.stack([values.get(metric, undefined) for metric in metrics], axis=1)

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many images of each finding have a known target and a score, and how many of them are positive."""
        used = ~np.isnan(self.targets) & (~np.isnan(self.scores)).any(axis=0)
        return used.sum(axis=0), (used & (self.targets == 1)).sum(axis=0)


def thresholds_of(scores: ImageScores, targets: ImageScores, criterion: Literal["f1", "mcc"]) -> PerFinding:
    """Choose a threshold per finding; give it validation scores only."""
    return np.array([best_threshold(scores[:, j], targets[:, j], criterion) for j in range(scores.shape[1])])


def with_macro(values: Numbers) -> Statistics:
    """Put the mean over the findings behind the findings, and flatten."""
    full = np.concatenate([values, nanmean(values, axis=2)[..., None]], axis=2)
    return full.reshape(len(values), -1)


def score_rows(
    scored: Scored,
    samples: int,
    seed: int,
    setting: str = "",
    subgroup: str = "all",
    metrics: Sequence[str] = METRICS,
) -> list[ResultRow]:
    """Turn scores into result rows: every metric per finding and their mean, with intervals over patients.

    Args:
        scored: The scores.
        samples: Bootstrap resamples of patients.
        seed: Seed of the bootstrap.
        setting: Which variant of the task, e.g. the fraction of labels.
        subgroup: Which patients these are.
        metrics: Which metrics.
    """
    total, positives = scored.counts()
    chances: dict[str, np.ndarray] = {
        "AUROC": np.full(len(total), 0.5),
        "AUPRC": chance_average_precision(positives, total),
        "MCC": np.zeros(len(total)),
        "balanced accuracy": np.full(len(total), 0.5),
    }
    value, low, high = bootstrap_interval(lambda w: with_macro(scored.measure(w, metrics)), scored.patients, samples, seed)
    labels = [*scored.findings, MACRO]
    both = (positives > 0) & (positives < total)
    rows = []
    for position, (metric, column) in enumerate((m, c) for m in metrics for c in range(len(labels))):
        is_macro = column == len(scored.findings)
        chance = chances.get(metric)
        rows.append(
            ResultRow(
                metric=metric,
                label=labels[column],
                setting=setting,
                subgroup=subgroup,
                value=number(value[position]),
                low=number(low[position]),
                high=number(high[position]),
                n=int(len(scored.row_ids) if is_macro else total[column]),
                positives=None if is_macro else int(positives[column]),
                chance=None if chance is None or not both.any() else number(chance[both].mean() if is_macro else chance[column]),
            )
        )
    return rows


def difference_rows(
    a: Scored, b: Scored, samples: int, seed: int, setting: str = "", metrics: Sequence[str] = METRICS
) -> list[ResultRow]:
    """Return a − b of every metric with paired intervals: both are measured on the same resampled patients."""

    def statistic(weights: Weights) -> Statistics:
        return with_macro(a.measure(weights, metrics) - b.measure(weights, metrics))

    total, positives = a.counts()
    value, low, high = bootstrap_interval(statistic, a.patients, samples, seed)
    labels = [*a.findings, MACRO]
    return [
        ResultRow(
            metric=metric,
            label=labels[column],
            setting=setting,
            value=number(value[position]),
            low=number(low[position]),
            high=number(high[position]),
            n=int(total[column]) if column < len(total) else len(a.row_ids),
            positives=int(positives[column]) if column < len(total) else None,
            chance=0.0,
        )
        for position, (metric, column) in enumerate((m, c) for m in metrics for c in range(len(labels)))
    ]


def to_columns(scored: Scored, setting: str) -> dict[str, Any]:
    """Lay the scores out as a long table: one line per unit, image and finding that has a score."""
    unit, image, finding = np.nonzero(~np.isnan(scored.scores))
    probabilities = np.full(scored.scores.shape, np.nan) if scored.probabilities is None else scored.probabilities
    score, threshold = scored.scores[unit, image, finding], scored.thresholds[unit, finding]
    return {
        "setting": [setting] * len(unit),
        "unit": unit.astype(np.int32),
        "row_id": np.asarray(scored.row_ids, dtype=object)[image],
        "patient_id": np.asarray(scored.patients, dtype=object)[image],
        "finding": np.asarray(scored.findings, dtype=object)[finding],
        "target": scored.targets[image, finding].astype(np.float32),
        "score": score.astype(np.float64),
        "threshold": threshold.astype(np.float64),
        "probability": probabilities[unit, image, finding].astype(np.float32),
    }


def from_columns(columns: dict[str, np.ndarray]) -> Scored:
    """Rebuild the scores of one setting from the long table."""
    row_ids, first, image = np.unique(columns["row_id"].astype(str), return_index=True, return_inverse=True)
    findings, finding = np.unique(columns["finding"].astype(str), return_inverse=True)
    unit = columns["unit"].astype(int)
    shape = (int(unit.max(initial=0)) + 1, len(row_ids), len(findings))
    targets, scores, thresholds = np.full(shape[1:], np.nan), np.full(shape, np.nan), np.full((shape[0], shape[2]), np.nan)
    targets[image, finding] = columns["target"]
    scores[unit, image, finding] = columns["score"]
    thresholds[unit, finding] = columns["threshold"]
    patients = [str(name) for name in columns["patient_id"][first]]
    return Scored([str(r) for r in row_ids], patients, [str(f) for f in findings], targets, scores, thresholds)
