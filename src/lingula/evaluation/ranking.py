"""Ranks of right answers in a gallery, with ties broken at random, exactly and in expectation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lingula.evaluation.arrays import PerQuery, Right, Similarity, Statistics, Weights
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.metrics import chance_average_precision, none_drawn, weighted_mean, weighted_median
from lingula.evaluation.result import ResultRow, number

MEDIAN_RANK = "median rank"


@dataclass(frozen=True)
class Ranked:
    """Per-query numbers of one direction of retrieval.

    Args:
        row_ids: The query's row.
        patients: The query's patient.
        values: Metric to one number per query; `median rank` holds ranks.
        chances: Metric to what a random order gets, over all queries.
    """

    row_ids: list[str]
    patients: list[str]
    values: Mapping[str, PerQuery]
    chances: Mapping[str, float]

    def measure(self, weights: Weights) -> Statistics:
        """Average over queries under every weighting (the median for ranks)."""
        columns = [(weighted_median if name == MEDIAN_RANK else weighted_mean)(v, weights) for name, v in self.values.items()]
        return np.stack(columns, axis=1)


def first_right(similarity: Similarity, right: Right, ks: Sequence[int]) -> dict[str, PerQuery]:
    """Return the rank of the first right answer and recall@k, per query; each query has at least one right answer.

    Items of equal similarity are in random order: the rank is the expected one, recall@k the probability of a hit. So a
    model whose latents are all alike gets exactly chance.
    """
    best = np.where(right, similarity, -np.inf).max(axis=1, keepdims=True)
    above = (similarity > best).sum(axis=1).astype(float)
    level = similarity == best
    tied_right, tied_wrong = (level & right).sum(axis=1).astype(float), (level & ~right).sum(axis=1).astype(float)
    result = {f"recall@{k}": 1 - none_drawn(tied_wrong, tied_right, np.clip(k - above, 0, None)) for k in ks}
    return result | {MEDIAN_RANK: above + (tied_wrong + tied_right + 1) / (tied_right + 1)}


def chance_of_first(right: PerQuery, total: int, ks: Sequence[int]) -> dict[str, float]:
    """Return what a random order gets: recall@k by the hypergeometric distribution, and the median of the rank's.

    Args:
        right: How many right answers each query has.
        total: Items in the gallery.
        ks: Cut-offs.
    """
    kinds, counts = np.unique(right, return_counts=True)
    share = counts / counts.sum()
    missed, recall, median = np.ones(len(kinds)), {}, float("nan")
    for rank in range(1, total + 1):
        left = np.maximum(total - kinds - (rank - 1), 0.0)
        missed = missed * left / (total - (rank - 1))
        found = float(1 - share @ missed)
        if rank in ks:
            recall[f"recall@{rank}"] = found
        if np.isnan(median) and found >= 0.5 - 1e-12:
            median = float(rank)
        if not np.isnan(median) and rank >= max(ks):
            break
    return {f"recall@{k}": recall.get(f"recall@{k}", 1.0) for k in ks} | {MEDIAN_RANK: median}


def by_relevance(
    similarity: Similarity, relevant: Right, allowed: Right, ks: Sequence[int], order: np.ndarray
) -> dict[str, PerQuery]:
    """Return precision@k, recall@k (a hit within k) and average precision per query, for many right answers each.

    Args:
        similarity: How alike query and item are.
        relevant: Which items are right.
        allowed: Which items a query may find at all (never itself).
        ks: Cut-offs; fewer allowed items than k count as all of them.
        order: A random permutation of the items, which breaks ties.
    """
    scores = np.where(allowed, similarity, -np.inf)[:, order]
    ranking = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis((relevant & allowed)[:, order], ranking, axis=1)
    found = np.cumsum(hits, axis=1)
    available = allowed.sum(axis=1)
    places = np.arange(1, hits.shape[1] + 1)
    result: dict[str, np.ndarray] = {}
    for k in ks:
        last = np.minimum(k, available)
        within = np.take_along_axis(found, np.maximum(last - 1, 0)[:, None], axis=1)[:, 0]
        result[f"precision@{k}"] = within / np.maximum(last, 1)
        result[f"recall@{k}"] = (within > 0).astype(float)
    result["mAP"] = (hits * found / places).sum(axis=1) / np.maximum(found[:, -1], 1)
    return result


def chance_by_relevance(relevant: PerQuery, available: PerQuery, ks: Sequence[int]) -> dict[str, float]:
    """Return what a random order gets for `by_relevance`, exactly, averaged over the queries."""
    result: dict[str, float] = {}
    for k in ks:
        result[f"precision@{k}"] = float(np.mean(relevant / available))
        result[f"recall@{k}"] = float(np.mean(1 - none_drawn(available - relevant, relevant, np.full(len(relevant), float(k)))))
    return result | {"mAP": float(np.mean(chance_average_precision(relevant, available)))}


def ranked_rows(ranked: Ranked, samples: int, seed: int, setting: str) -> list[ResultRow]:
    """Turn per-query numbers into result rows with intervals over patients; the gallery stays as it is."""
    value, low, high = bootstrap_interval(ranked.measure, ranked.patients, samples, seed)
    return [
        ResultRow(
            metric=metric,
            setting=setting,
            value=number(value[i]),
            low=number(low[i]),
            high=number(high[i]),
            n=len(ranked.row_ids),
            chance=number(ranked.chances.get(metric, float("nan"))),
        )
        for i, metric in enumerate(ranked.values)
    ]


def ranked_difference(a: Ranked, b: Ranked, samples: int, seed: int, setting: str) -> list[ResultRow]:
    """Return a − b with paired intervals over the same resampled patients."""
    value, low, high = bootstrap_interval(lambda w: a.measure(w) - b.measure(w), a.patients, samples, seed)
    ends = zip(a.values, value, low, high, strict=True)
    return [
        ResultRow(metric=m, setting=setting, value=number(v), low=number(lo), high=number(hi), n=len(a.row_ids), chance=0.0)
        for m, v, lo, hi in ends
    ]


def ranked_columns(ranked: Ranked, setting: str) -> dict[str, Any]:
    """Lay the numbers out as a long table: one line per metric and query."""
    count = len(ranked.row_ids)
    return {
        "setting": [setting] * (count * len(ranked.values)),
        "row_id": ranked.row_ids * len(ranked.values),
        "patient_id": ranked.patients * len(ranked.values),
        "metric": [metric for metric in ranked.values for _ in range(count)],
        "value": np.concatenate(list(ranked.values.values())),
    }


def ranked_from_columns(columns: dict[str, np.ndarray]) -> Ranked:
    """Rebuild the per-query numbers of one setting from the long table."""
    metrics = list(dict.fromkeys(columns["metric"].astype(str)))
    first = columns["metric"].astype(str) == metrics[0]
    row_ids = [str(r) for r in columns["row_id"][first]]
    values = {metric: columns["value"][columns["metric"].astype(str) == metric] for metric in metrics}
    return Ranked(row_ids, [str(p) for p in columns["patient_id"][first]], values, {})
