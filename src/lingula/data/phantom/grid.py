"""Where a patient is sampled: a regular grid in mm for CT, or the rays of a cone beam for a radiograph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Box = tuple[slice, slice, slice]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Beam:
    """A point source in front of a flat detector that is parallel to two of the axes x, y, z (RAS+, mm).

    Args:
        source: Focal spot, mm.
        depth_axis: The axis that is perpendicular to the detector: 1 for PA and AP, 0 for lateral.
        column_axis: The axis along the image columns: 0 for PA and AP, 1 for lateral.
        detector: Coordinate of the detector plane along the depth axis, mm.
        columns: Detector coordinate of each image column, evenly spaced, mm.
        rows: Detector height z of each image row, evenly spaced, mm.
    """

    source: Point
    depth_axis: int
    column_axis: int
    detector: float
    columns: NDArray[np.float64]
    rows: NDArray[np.float64]

    @property
    def throw(self) -> float:
        """Signed distance from source to detector along the depth axis, mm."""
        return self.detector - self.source[self.depth_axis]

    def path_length(self) -> Floats:
        """Return the length of each ray per mm of depth, `rows columns`."""
        across = (self.columns - self.source[self.column_axis]) / self.throw
        along = (self.rows - self.source[2]) / self.throw
        length: Floats = np.sqrt(1 + along[:, None] ** 2 + across[None, :] ** 2).astype(np.float32)
        return length


@dataclass(frozen=True)
class Grid:
    """Sample points whose coordinates broadcast to `shape`; each coordinate varies along few axes, which makes evaluation cheap.

    Args:
        x: Right, y: front, z: head, mm; arrays that broadcast to `shape`.
        shape: `x y z` for a volume, `rows columns depth` for a beam.
        axes: Which grid axis x, y and z mainly run along.
        softness: Width of the edges of structures, mm; about the coarsest sample distance.
    """

    x: Floats
    y: Floats
    z: Floats
    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    softness: float

    def scaled(self, scale: Point) -> Grid:
        """Return the same samples in a patient's standard frame: coordinates divided by the patient's scale."""
        x, y, z = (a / np.float32(s) for a, s in zip((self.x, self.y, self.z), scale, strict=True))
        return replace(self, x=x, y=y, z=z)

    @cached_property
    def _spans(self) -> list[tuple[int, Floats, Floats, bool]]:
        """For x, y and z: the axis they run along, the least and greatest coordinate at each index, and whether they descend."""
        result = []
        for coordinate, axis in zip((self.x, self.y, self.z), self.axes, strict=True):
            others = tuple(i for i in range(3) if i != axis)
            low, high = coordinate.min(axis=others), coordinate.max(axis=others)
            falls = bool(low[-1] < low[0])
            result.append((axis, low[::-1].copy() if falls else low, high[::-1].copy() if falls else high, falls))
        return result

    def box(self, low: Point, high: Point) -> Box | None:
        """Return the index ranges that hold every sample between two corners (mm), or None where there is none."""
        slices = [slice(None)] * 3
        for (axis, least, most, falls), first, last in zip(self._spans, low, high, strict=True):
            start, stop = int(most.searchsorted(first)), int(least.searchsorted(last, side="right"))
            if start >= stop:
                return None
            slices[axis] = slice(len(least) - stop, len(least) - start) if falls else slice(start, stop)
        return slices[0], slices[1], slices[2]

    def at(self, box: Box) -> tuple[Floats, Floats, Floats]:
        """Return x, y, z inside a box, still broadcastable (mm)."""
        return _cut(self.x, box), _cut(self.y, box), _cut(self.z, box)


def _cut(values: Floats, box: Box) -> Floats:
    return values[tuple(part if size > 1 else slice(None) for part, size in zip(box, values.shape, strict=True))]


def regular_grid(low: Point, high: Point, spacing: float) -> Grid:
    """Return an RAS+ grid of voxel centres from `low` to `high` (mm), `x y z`."""
    x, y, z = (np.arange(a, b, spacing, dtype=np.float32) for a, b in zip(low, high, strict=True))
    return Grid(x[:, None, None], y[None, :, None], z[None, None, :], (len(x), len(y), len(z)), (0, 1, 2), spacing)


def beam_grid(beam: Beam, near: float, far: float, depths: int, softness: float) -> tuple[Grid, float]:
    """Return samples along every ray between two depths, and the distance of the sample planes (mm)."""
    step = (far - near) / depths
    planes = near + step * (np.arange(depths) + 0.5)
    share = (planes - beam.source[beam.depth_axis]) / beam.throw
    start = beam.source[beam.column_axis]
    across = start + share[None, :] * (beam.columns[:, None] - start)
    up = beam.source[2] + share[None, :] * (beam.rows[:, None] - beam.source[2])
    parts = {beam.depth_axis: planes[None, None, :], beam.column_axis: across[None, :, :], 2: up[:, None, :]}
    x, y, z = (parts[axis].astype(np.float32) for axis in range(3))
    axes = (1, 2, 0) if beam.depth_axis == 1 else (2, 1, 0)
    return Grid(x, y, z, (len(beam.rows), len(beam.columns), depths), axes, softness), step
