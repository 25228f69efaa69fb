"""Maps that know no phrase or no image: what a model's maps are held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lingula.core.randomness import random_generator
from lingula.data.store import Store
from lingula.evaluation.arrays import Grids, HeatMap
from lingula.evaluation.grounding.queries import Queries, truth_of

FIXED_SPREAD = 0.25
"""Standard deviation of the fixed centre prior, as a share of the image's side."""


@dataclass(frozen=True)
class Priors:
    """Where regions lie at all.

    Args:
        centre: A Gaussian, the same for every image and phrase.
        findings: Mean training region of each finding.
        regions: Training regions that they were learned from; with none the centre is fixed and there is no other prior.
    """

    centre: HeatMap
    findings: dict[str, HeatMap]
    regions: int

    def described(self) -> str:
        """Return where the centre prior comes from, for a protocol."""
        if not self.regions:
            return f"fixed: a Gaussian in the middle, standard deviation {FIXED_SPREAD:g} of the side (no training regions)"
        return f"a Gaussian with the mean and covariance of {self.regions} training regions"

    def finding(self, name: str) -> HeatMap:
        """Return the mean training region of a finding; of one that training never shows, the centre prior."""
        return self.findings.get(name, self.centre)


def learn_priors(store: Store, training: Queries) -> Priors:
    """Learn where regions lie from training queries alone.

    Args:
        store: The images.
        training: Queries of training rows.
    """
    size = store.size
    sums: dict[str, HeatMap] = {}
    counts: dict[str, int] = {}
    for query in training.asked:
        sums[query.finding] = sums.get(query.finding, np.zeros((size, size))) + truth_of(store, query)
        counts[query.finding] = counts.get(query.finding, 0) + 1
    means = {name: (total / counts[name]).astype(np.float32) for name, total in sums.items()}
    if not means:
        middle, spread = np.full(2, size / 2), np.eye(2) * (FIXED_SPREAD * size) ** 2
    else:
        middle, spread = moments(np.sum(list(sums.values()), axis=0))
    return Priors(gaussian(middle, spread, size), means, len(training.asked))


def moments(weights: HeatMap) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (row, column) and covariance of pixel centres under weights; a pixel has the width of a pixel."""
    rows, columns = (np.arange(length) + 0.5 for length in weights.shape)
    share = weights / weights.sum()
    middle = np.array([share.sum(axis=1) @ rows, share.sum(axis=0) @ columns])
    down, across = rows - middle[0], columns - middle[1]
    mixed = float(down @ share @ across)
    spread = np.array([[share.sum(axis=1) @ down**2, mixed], [mixed, share.sum(axis=0) @ across**2]])
    return middle, spread + np.eye(2) / 12


def gaussian(middle: np.ndarray, spread: np.ndarray, size: int) -> HeatMap:
    """Return exp(−½ d²) of the Mahalanobis distance d of every pixel centre, `size size`."""
    places = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5, indexing="ij"), axis=-1) - middle
    distance = np.einsum("rci,ij,rcj->rc", places, np.linalg.inv(spread), places)
    heat: HeatMap = np.exp(-distance / 2).astype(np.float32)
    return heat


def random_grid(shape: tuple[int, int], *key: int | str) -> Grids:
    """Return uniform noise on a feature grid, `1 rows columns`, that depends on the key alone."""
    noise: Grids = random_generator(*key, "ground").random((1, *shape), dtype=np.float32)
    return noise
