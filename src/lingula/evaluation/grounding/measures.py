"""How well a heat-map finds a region, from one sorting of its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lingula.core.types import RegionMask
from lingula.evaluation.arrays import HeatMap, Numbers


@dataclass(frozen=True)
class RankedMap:
    """The pixels of one map in ascending order, and how many of the region lie below each.

    Args:
        values: `pixels`, ascending.
        hits: `pixels + 1`; the region's pixels among the lowest 0, 1, 2, … ones.
    """

    values: Float[np.ndarray, pixels]
    hits: Int[np.ndarray, edges]

    @classmethod
    def of(cls, heat: HeatMap, region: RegionMask) -> RankedMap:
        """Sort a map.

        Raises:
            ValueError: Map and region differ in size, or the region is empty.
        """
        if heat.shape != region.shape or not region.any():
            raise ValueError(f"a region with pixels in a map of its size needed, got {region.shape} and {heat.shape}")
        values = heat.ravel()
        order = np.argsort(values)
        hits = np.zeros(values.size + 1, np.int64)
        np.cumsum(region.ravel()[order], out=hits[1:])
        return cls(values[order].astype(np.float64), hits)

    @property
    def area(self) -> float:
        """Share of the image that the region covers: what a blind pointer hits."""
        return float(self.hits[-1] / len(self.values))

    def pointing(self) -> float:
        """Return whether the maximum lies in the region; of several equal maxima the share that does."""
        first = int(np.searchsorted(self.values, self.values[-1], side="left"))
        return float((self.hits[-1] - self.hits[first]) / (len(self.values) - first))

    def contrast_to_noise(self) -> float:
        """Return |μ − μ'| / √(σ² + σ'²) of the values inside and outside (BioViL, arXiv 2204.09817): blind to the sign.

        0 where the means are equal; NaN where there is nothing outside, or no noise to divide by.
        """
        inside = np.diff(self.hits).astype(bool)
        if inside.all():
            return float("nan")
        own, other = self.values[inside], self.values[~inside]
        gap, noise = abs(own.mean() - other.mean()), float(np.sqrt(own.var() + other.var()))
        if gap <= 1e-12 * max(abs(self.values[-1]), abs(self.values[0])):
            return 0.0
        return float(gap / noise) if noise > 0 else float("nan")

    def auroc(self) -> float:
        """Return P(pixel inside > pixel outside) + ½ P(equal); NaN where there is nothing outside."""
        edges = np.concatenate([[0], np.flatnonzero(np.diff(self.values)) + 1, [len(self.values)]])
        inside = np.diff(self.hits[edges])
        outside = np.diff(edges) - inside
        if not outside.any():
            return float("nan")
        below = np.cumsum(outside) - outside
        return float((inside * (below + outside / 2)).sum() / (self.hits[-1] * outside.sum()))

    def quantiles(self, levels: Numbers) -> Numbers:
        """Return quantiles of the map, linear between order statistics."""
        place = np.asarray(levels) * (len(self.values) - 1)
        low = np.floor(place).astype(int)
        first, second = self.values[low], self.values[np.minimum(low + 1, len(self.values) - 1)]
        found: Numbers = first + (second - first) * (place - low)
        return found

    def overlap(self, thresholds: Numbers) -> tuple[Numbers, Numbers]:
        """Return IoU and Dice of the pixels that reach each threshold."""
        below = np.searchsorted(self.values, thresholds, side="left")
        chosen, right, region = len(self.values) - below, self.hits[-1] - self.hits[below], self.hits[-1]
        return right / (chosen + region - right), 2 * right / (chosen + region)
