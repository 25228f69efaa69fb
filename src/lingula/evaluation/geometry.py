"""The shape of a cloud of embeddings: spectrum, effective rank, alignment, uniformity, correlation, class separability."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lingula.evaluation.arrays import Array, Numbers

CONSTANT = 1e-6
"""A feature whose deviation is below this share of the largest one is constant: it has no correlation."""
GROUPS = 20
"""Groups of patients of the jackknife."""


def singular_spectrum(features: Array) -> Numbers:
    """Singular values of centred features `images features`, descending, divided by √images: deviations along the axes."""
    values: Numbers = np.linalg.svd(_centred(features), compute_uv=False) / np.sqrt(max(len(features), 1))
    return values


def effective_rank(spectrum: Numbers) -> float:
    """Effective rank of a spectrum σ: exp(−Σ p log p) with p = σ / Σ σ (Roy & Vetterli 2007); NaN for a single point."""
    total = spectrum.sum()
    if not total > 0:
        return float("nan")
    shares = spectrum[spectrum > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def alignment(images: Array, texts: Array) -> float:
    """Mean squared distance of paired unit vectors `pairs latent`, 2 − 2 cos (Wang & Isola 2020, arXiv 2005.10242, α = 2)."""
    return float(np.mean(np.sum((_unit(images) - _unit(texts)) ** 2, axis=1)))


def uniformity(vectors: Array) -> float:
    """Log of the mean of exp(−2 ‖x − y‖²) over distinct pairs of unit vectors (Wang & Isola 2020, t = 2).

    0 where all are one point; towards −4 where they are spread evenly over a sphere of many dimensions.
    """
    units, count = _unit(vectors), len(vectors)
    if count < 2:
        return float("nan")
    distances = np.maximum(2 - 2 * (units @ units.T), 0)
    pairs = np.exp(-2 * distances[np.triu_indices(count, 1)])
    return float(np.log(pairs.mean()))


def mean_correlation(features: Array) -> float:
    """Mean absolute correlation of distinct features `images features`; constant ones are left out, NaN for fewer than two."""
    centred = _centred(features)
    deviations = np.sqrt((centred**2).mean(axis=0))
    kept = deviations > CONSTANT * max(float(deviations.max(initial=0)), 1e-30)
    if kept.sum() < 2:
        return float("nan")
    standard = centred[:, kept] / deviations[kept]
    correlation = np.abs(standard.T @ standard) / len(features)
    size = len(correlation)
    return float((correlation.sum() - np.trace(correlation)) / (size * (size - 1)))


def fisher_ratio(features: Array, positive: Array) -> float:
    """Distance of two class means over the spread within: ‖μ₁ − μ₀‖² / (tr Σ₁ + tr Σ₀) (Fisher 1936); NaN for a lone class."""
    one, zero = np.asarray(features[positive], np.float64), np.asarray(features[~positive], np.float64)
    if not len(one) or not len(zero):
        return float("nan")
    within = one.var(axis=0).sum() + zero.var(axis=0).sum()
    between = ((one.mean(axis=0) - zero.mean(axis=0)) ** 2).sum()
    return float(between / within) if within > 0 else float("nan")


def jackknife_interval(
    statistic: Callable[[Array], float], patients: Sequence[str], seed: int, groups: int = GROUPS
) -> tuple[float, float, float]:
    """Return a statistic of all images, and the ends of its 95 % interval by a jackknife over groups of patients.

    A bootstrap repeats images, which lowers every rank; a jackknife leaves 1 / groups of the patients out in turn, and its
    variance is (g − 1) / g Σ (θ₍ᵢ₎ − mean)² (Efron & Tibshirani 1993, chapter 11).

    Args:
        statistic: Maps row positions to a number.
        patients: The patient of each row.
        seed: Seed of the groups.
        groups: How many, at most one per patient; below two there is no interval.
    """
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    count = min(groups, len(names))
    value = statistic(np.arange(len(index)))
    if count < 2:
        return value, float("nan"), float("nan")
    group = (np.random.default_rng(seed).permutation(len(names)) % count)[index]
    without = np.array([statistic(np.flatnonzero(group != left_out)) for left_out in range(count)])
    reach = 1.96 * np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    return value, value - float(reach), value + float(reach)


def _centred(features: Array) -> Array:
    values = np.asarray(features, np.float64)
    return values - values.mean(axis=0) if len(values) else values


def _unit(vectors: Array) -> Array:
    values = np.asarray(vectors, np.float64)
    units: Array = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
    return units
