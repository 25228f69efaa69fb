"""Percentile bootstrap over patients: a patient is drawn with all their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from lingula.evaluation.arrays import Numbers, Statistics, Weights

Statistic: TypeAlias = Callable[[Weights], Statistics]

CELLS = 4_000_000
"""Most weights held at once; bounds the memory whatever the number of images."""


def resampled_weights(patients: Sequence[str], samples: int, seed: int, cells: int = CELLS) -> Iterator[Weights]:
    """Yield blocks of weights, `resamples images`: how often each image's patient was drawn.

    As many patients are drawn, with replacement, as there are. Blocks lie in memory image by image. The draws
    depend on the seed and on the patients, not on the size of the blocks.

    Args:
        patients: The patient of each image.
        samples: Resamples in total.
        seed: Seed of the draw.
        cells: Most weights in one block.
    """
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    count = len(names)
    generator = np.random.default_rng(seed)
    block = max(1, cells // max(len(index), count, 1))
    for start in range(0, samples, block):
        size = min(block, samples - start)
        drawn = generator.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield counts.astype(np.float32).T[index].T


def bootstrap_interval(
    statistic: Statistic, patients: Sequence[str], samples: int, seed: int, level: float = 0.95
) -> tuple[Numbers, Numbers, Numbers]:
    """Return a statistic's values on the sample itself, and the low and high ends of their percentile intervals.

    For a paired comparison the statistic is the difference of two models on the same images. A number that is undefined
    in a resample (a class was not drawn) is left out of its percentiles; ends are NaN where `samples` is 0.

    Args:
        statistic: Maps weights, `resamples images`, to numbers, `resamples numbers`.
        patients: The patient of each image.
        samples: Resamples of patients.
        seed: Seed of the draw.
        level: Coverage of the interval.
    """
    values = statistic(np.ones((1, len(patients))))[0]
    nothing = np.full(len(values), np.nan)
    if samples == 0 or not len(patients):
        return values, nothing, nothing.copy()
    draws = np.concatenate([statistic(weights) for weights in resampled_weights(patients, samples, seed)])
    defined = ~np.isnan(draws).all(axis=0)
    ends = np.stack([nothing, nothing])
    ends[:, defined] = np.nanpercentile(draws[:, defined], [50 * (1 - level), 50 * (1 + level)], axis=0)
    return values, ends[0], ends[1]
