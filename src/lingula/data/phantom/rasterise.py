"""Rods written into a volume, hundreds at a time: the voxels of many small boxes are listed and tested together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lingula.data.phantom.grid import Floats, Grid
from lingula.data.phantom.rods import FREE_AIR, Doubles, Rods

Counts = NDArray[np.int64]
MOST_VOXELS = 1 << 18
"""Voxels that are tested together, unless one rod alone has more."""
FLAT_END = 1.02
"""A rod's flat ends reach this much further than its half length."""


def rasterise(group: Rods, grid: Grid, values: Floats) -> NDArray[np.bool_]:
    """Write the rods into a volume of relative attenuation, in place, the later over the earlier; return which voxels they fill.

    Args:
        group: What to write.
        grid: A regular grid.
        values: `x y z`, changed in place.
    """
    axes, halves = group.frame()
    scaled = (axes / halves[:, :, None]).astype(np.float32)
    reach = np.abs(axes * halves[:, :, None]).sum(axis=1) + grid.softness
    lines = [grid.x.ravel(), grid.y.ravel(), grid.z.ravel()]
    first, sides = _boxes(lines, group.centre - reach, group.centre + reach)
    centre, value = group.centre.astype(np.float32), group.value.astype(np.float32)
    filled = np.zeros(grid.shape, dtype=bool)
    for chunk in _chunks(sides.prod(axis=1), group):
        rod, place = _voxels(first, sides, chunk)
        offset = [line[at] - centre[rod, axis] for axis, (line, at) in enumerate(zip(lines, place, strict=True))]
        a, b, c = (sum(offset[axis] * scaled[rod, way, axis] for axis in range(3)) for way in range(3))
        across = a * a + b * b
        inside = np.where(group.ball[rod], across + c * c < 1, (across < 1) & (np.abs(c) <= FLAT_END))
        inside &= ~group.aerated[rod] | (values[place] >= FREE_AIR)
        within = tuple(at[inside] for at in place)
        values[within] = value[rod[inside]]
        filled[within] = True
    return filled


def _boxes(lines: list[Floats], low: Doubles, high: Doubles) -> tuple[Counts, Counts]:
    """Return the first index and the number of samples between two corners along each axis, `rods 3` each."""
    first = np.stack([line.searchsorted(low[:, axis]) for axis, line in enumerate(lines)], axis=1)
    stop = np.stack([line.searchsorted(high[:, axis], side="right") for axis, line in enumerate(lines)], axis=1)
    return first, np.maximum(stop - first, 0)


def _chunks(counts: Counts, group: Rods) -> Iterator[slice]:
    """Cut the rods, in their order, into runs that can be written at once.

    A rod that exists only in aerated tissue looks at what is there before it; a run therefore ends before it, unless all that the
    run has so far are rods of its kind that leave tissue as tissue.
    """
    steady = group.aerated & (group.value.astype(np.float32) >= FREE_AIR)
    start, total = 0, 0
    for rod, count in enumerate(counts.tolist()):
        if rod > start and (total + count > MOST_VOXELS or (group.aerated[rod] and not steady[rod - 1])):
            yield slice(start, rod)
            start, total = rod, 0
        total += count
    if total:
        yield slice(start, len(counts))


def _voxels(first: Counts, sides: Counts, chunk: slice) -> tuple[Counts, tuple[Counts, Counts, Counts]]:
    """List the voxels of the boxes of some rods: whose each is, and its place along x, y and z."""
    first, sides = first[chunk], sides[chunk]
    counts = sides.prod(axis=1)
    rod = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(rod)) - np.repeat(counts.cumsum() - counts, counts)
    y, z = sides[rod, 1], sides[rod, 2]
    place = (first[rod, 0] + number // (y * z), first[rod, 1] + number // z % y, first[rod, 2] + number % z)
    return rod + chunk.start, place
