"""Means over queries, per finding and over findings, with intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lingula.evaluation.arrays import PerQuery, Statistics, Weights
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.metrics import nanmean
from lingula.evaluation.result import ResultRow, number
from lingula.evaluation.scored import MACRO


def mean_rows(
    values: Mapping[str, PerQuery],
    findings: Sequence[str],
    patients: Sequence[str],
    samples: int,
    seed: int,
    setting: str,
    chances: Mapping[str, PerQuery] | None = None,
) -> list[ResultRow]:
    """Return each measure's mean per finding and the mean of these means; a patient is drawn with all their queries.

    Args:
        values: Measure to a number per query; NaN where it is undefined.
        findings: The finding of each query.
        patients: The patient of each query.
        samples: Bootstrap resamples.
        seed: Seed of the bootstrap.
        setting: Which maps these are.
        chances: Measure to what a map without knowledge would get for each query, where that is known.
    """
    names, index = np.unique(np.asarray(findings), return_inverse=True)
    member = np.eye(len(names))[index]
    table = np.stack([values[measure] for measure in values])
    known = ~np.isnan(table)

    def statistic(weights: Weights) -> Statistics:
        sums = np.einsum("bq,mq,qf->bmf", weights, np.where(known, table, 0), member, optimize=True)
        counts = np.einsum("bq,mq,qf->bmf", weights, known.astype(float), member, optimize=True)
        means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        return np.concatenate([nanmean(means, axis=2)[..., None], means], axis=2).reshape(len(weights), -1)

    value, low, high = bootstrap_interval(statistic, patients, samples, seed)
    chance = _chance(values, chances or {}, member)
    labels = [MACRO, *names.tolist()]
    totals = (known.astype(int) @ member.astype(int)).astype(int)
    return [
        ResultRow(
            metric=measure,
            label=label,
            setting=setting,
            value=number(value[m * len(labels) + f]),
            low=number(low[m * len(labels) + f]),
            high=number(high[m * len(labels) + f]),
            n=int(totals[m].sum() if label == MACRO else totals[m, f - 1]),
            chance=number(chance[m, f]),
        )
        for m, measure in enumerate(values)
        for f, label in enumerate(labels)
    ]


def _chance(values: Mapping[str, PerQuery], chances: Mapping[str, PerQuery], member: np.ndarray) -> np.ndarray:
    """Mean chance of each measure over findings and per finding; NaN where it has none."""
    undefined = np.full(len(member), np.nan)
    each = np.stack([chances.get(measure, undefined) for measure in values]) @ (member / member.sum(axis=0))
    means: np.ndarray = np.concatenate([each.mean(axis=1, keepdims=True), each], axis=1)
    return means


def overall_rows(
    values: Mapping[str, PerQuery], patients: Sequence[str], samples: int, seed: int, setting: str, chances: Mapping[str, float]
) -> list[ResultRow]:
    """Return each measure's mean over all queries, without a label."""
    table = np.stack(list(values.values()))
    value, low, high = bootstrap_interval(lambda w: (w @ table.T) / w.sum(axis=1, keepdims=True), patients, samples, seed)
    return [
        ResultRow(
            metric=measure,
            setting=setting,
            value=number(value[place]),
            low=number(low[place]),
            high=number(high[place]),
            n=table.shape[1],
            chance=chances.get(measure),
        )
        for place, measure in enumerate(values)
    ]
