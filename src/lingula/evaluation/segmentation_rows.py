"""Overlap of masks as result rows, and as the table of predictions they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lingula.evaluation.arrays import Statistics, Weights
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.metrics import nanmean
from lingula.evaluation.result import ResultRow, number
from lingula.evaluation.scored import MACRO, with_macro
from lingula.evaluation.segmentation_scores import MGCA, STRICT, ScoredMasks


def strict_rows(
    scored: ScoredMasks, samples: int, seed: int, setting: str = "", subgroup: str = "all", metrics: Sequence[str] = STRICT
) -> list[ResultRow]:
    """Turn counts into rows: every metric per finding and their mean, with intervals over patients and chance beside."""

    def statistic(weights: Weights) -> Statistics:
        return with_macro(scored.measure(weights)[:, [STRICT.index(name) for name in metrics]])

    value, low, high = bootstrap_interval(statistic, scored.patients, samples, seed)
    chance = with_macro(scored.constant(True).measure(np.ones((1, len(scored.row_ids)))))[0].reshape(len(STRICT), -1)
    counted, positives, clear = scored.totals()
    labels = [*scored.findings, MACRO]
    rows = []
    for position, (metric, column) in enumerate((m, c) for m in metrics for c in range(len(labels))):
        on = {"Dice": positives, "IoU": positives, "pooled Dice": counted}.get(metric, clear)
        rows.append(
            ResultRow(
                metric=metric,
                label=labels[column],
                setting=setting,
                subgroup=subgroup,
                value=number(value[position]),
                low=number(low[position]),
                high=number(high[position]),
                n=int(on[column]),
                positives=int(positives[column]),
                chance=number(chance[STRICT.index(metric), column]) if metric in ("Dice", "IoU", "pooled Dice") else None,
            )
        )
    return rows


def mgca_rows(scored: ScoredMasks, batch: int, setting: str = "") -> list[ResultRow]:
    """Turn counts into rows of MGCA's Dice, which is published without an interval."""
    counted, positives, _ = scored.totals()
    values, chances = (
        np.append(each, nanmean(each, axis=0)) for each in (scored.mgca(batch), scored.constant(False).mgca(batch))
    )
    return [
        ResultRow(
            metric=MGCA,
            label=label,
            setting=setting,
            value=number(value),
            n=int(n),
            positives=int(there),
            chance=number(chance),
        )
        for label, value, chance, n, there in zip([*scored.findings, MACRO], values, chances, counted, positives, strict=True)
    ]


def mask_difference_rows(a: ScoredMasks, b: ScoredMasks, samples: int, seed: int, setting: str = "") -> list[ResultRow]:
    """Return a − b of every strict metric with paired intervals: both are measured on the same resampled patients."""

    def statistic(weights: Weights) -> Statistics:
        return with_macro(a.measure(weights) - b.measure(weights))

    value, low, high = bootstrap_interval(statistic, a.patients, samples, seed)
    counted, positives, _ = a.totals()
    labels = [*a.findings, MACRO]
    return [
        ResultRow(
            metric=metric,
            label=labels[column],
            setting=setting,
            value=number(value[position]),
            low=number(low[position]),
            high=number(high[position]),
            n=int(counted[column]),
            positives=int(positives[column]),
            chance=0.0,
        )
        for position, (metric, column) in enumerate((m, c) for m in STRICT for c in range(len(labels)))
    ]


def mask_columns(scored: ScoredMasks, setting: str) -> dict[str, Any]:
    """Lay the counts out as a long table: one line per unit, image and finding that is scored."""
    unit, image, finding = np.nonzero(~np.isnan(scored.predicted))
    at = unit, image, finding
    return {
        "setting": [setting] * len(unit),
        "unit": unit.astype(np.int32),
        "row_id": np.asarray(scored.row_ids, dtype=object)[image],
        "patient_id": np.asarray(scored.patients, dtype=object)[image],
        "finding": np.asarray(scored.findings, dtype=object)[finding],
        "area": np.broadcast_to(scored.area, len(scored.row_ids))[image].astype(np.int32),
        "truth": scored.truth[image, finding].astype(np.int32),
        "predicted": scored.predicted[at].astype(np.int32),
        "overlap": scored.overlap[at].astype(np.int32),
        "predicted at 0.5": scored.predicted_half[at].astype(np.int32),
        "overlap at 0.5": scored.overlap_half[at].astype(np.int32),
        "threshold": scored.thresholds[unit, finding].astype(np.float64),
    }


def masks_from_columns(columns: dict[str, np.ndarray]) -> ScoredMasks:
    """Rebuild the counts of one setting from the long table; images come in the order of their names."""
    row_ids, first, image = np.unique(columns["row_id"].astype(str), return_index=True, return_inverse=True)
    findings, finding = np.unique(columns["finding"].astype(str), return_inverse=True)
    unit = columns["unit"].astype(int)
    shape = (int(unit.max(initial=0)) + 1, len(row_ids), len(findings))
    truth, thresholds = np.full(shape[1:], np.nan), np.full((shape[0], shape[2]), np.nan)
    truth[image, finding] = columns["truth"]
    thresholds[unit, finding] = columns["threshold"]
    counts = []
    for name in ("predicted", "overlap", "predicted at 0.5", "overlap at 0.5"):
        values = np.full(shape, np.nan)
        values[unit, image, finding] = columns[name]
        counts.append(values)
    predicted, overlap, predicted_half, overlap_half = counts
    areas = columns["area"][first]
    return ScoredMasks(
        row_ids=[str(name) for name in row_ids],
        patients=[str(name) for name in columns["patient_id"][first]],
        findings=[str(name) for name in findings],
        area=int(areas[0]) if (areas == areas[0]).all() else areas.astype(np.float64),
        truth=truth,
        predicted=predicted,
        overlap=overlap,
        predicted_half=predicted_half,
        overlap_half=overlap_half,
        thresholds=thresholds,
    )
