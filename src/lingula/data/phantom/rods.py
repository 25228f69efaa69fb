"""Thin structures (ribs, vessels, lines, nodules) as short elliptic rods and ellipsoids.

A radiograph integrates them in closed form, so that a vessel thinner than a pixel keeps its attenuation; a volume rasterises
the same rods. Where a rod lies, it replaces what the grid holds there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from lingula.data.phantom.grid import Beam, Floats, Grid, Point

Doubles = NDArray[np.float64]
END_ON = 0.995
"""A rod seen under a cosine above this is projected as an ellipsoid of the same size."""
FINEST = 0.7
"""Smallest projected half-width, pixels; a thinner rod is widened and thinned out, so that its integral stays."""


@dataclass(frozen=True)
class Rods:
    """Many rods, one per row; lengths in mm.

    Args:
        start: `rods 3`.
        end: `rods 3`.
        normal: `rods 3`, roughly where the thin side of the cross-section points.
        radius: Half-thickness along the normal.
        height: Half-thickness across it.
        value: Attenuation relative to water.
        ball: True for an ellipsoid that just reaches start and end, False for a rod with flat ends.
        aerated: True for what exists only inside aerated tissue (vessels): it vanishes in free air.
        inside: Attenuation of the rod that it lies in, NaN where it lies in the tissue of the grid.
    """

    start: Doubles
    end: Doubles
    normal: Doubles
    radius: Doubles
    height: Doubles
    value: Doubles
    ball: NDArray[np.bool_]
    aerated: NDArray[np.bool_]
    inside: Doubles

    def __len__(self) -> int:
        return len(self.value)

    @property
    def centre(self) -> Doubles:
        """Middle of each rod, `rods 3`, mm."""
        return (self.start + self.end) / 2

    def frame(self) -> tuple[Doubles, Doubles]:
        """Return the axes (`rods 3 3`: along height, radius and length) and the half extents along them (`rods 3`, mm)."""
        axis = self.end - self.start
        length = np.maximum(np.sqrt(np.sum(axis * axis, axis=1)), 1e-6)
        axis = axis / length[:, None]
        across = _cross(axis, self.normal)
        across /= np.maximum(np.sqrt(np.sum(across * across, axis=1, keepdims=True)), 1e-9)
        axes = np.stack([across, _cross(across, axis), axis], axis=1)
        return axes, np.stack([self.height, self.radius, length / 2], axis=1)


def rods(
    start: Doubles,
    end: Doubles,
    radius: Doubles | float,
    value: Doubles | float,
    *,
    height: Doubles | float | None = None,
    normal: Doubles | Point | None = None,
    aerated: bool = False,
    ball: bool = False,
) -> Rods:
    """Return straight rods between two points each; see `Rods` for the arguments.

    The height is the radius where it is not given; the normal is then arbitrary.
    """
    count = len(start)
    if normal is None:
        steep = np.abs(end[:, :1] - start[:, :1]) < 0.8 * np.sqrt(np.sum((end - start) ** 2, axis=1, keepdims=True))
        normal = np.where(steep, np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    facing = np.empty((count, 3))
    facing[:] = normal
    return Rods(
        start=np.asarray(start, dtype=np.float64),
        end=np.asarray(end, dtype=np.float64),
        normal=facing,
        radius=np.full(count, radius, dtype=np.float64),
        height=np.full(count, radius if height is None else height, dtype=np.float64),
        value=np.full(count, value, dtype=np.float64),
        ball=np.full(count, ball),
        aerated=np.full(count, aerated),
        inside=np.full(count, np.nan),
    )


def path(
    points: Doubles,
    radius: Doubles | float,
    value: float,
    *,
    height: Doubles | float | None = None,
    normal: Doubles | Point | None = None,
) -> Rods:
    """Return a chain of rods along `points 3` (mm)."""
    return rods(points[:-1], points[1:], radius, value, height=height, normal=normal)


def balls(centre: Doubles, radii: Doubles, value: Doubles | float) -> Rods:
    """Return axis-parallel ellipsoids with `balls 3` centres and radii (mm)."""
    up = radii * np.array([0.0, 0.0, 1.0])
    return rods(centre - up, centre + up, radii[:, 0], value, height=radii[:, 1], normal=(1.0, 0.0, 0.0), ball=True)


def join(parts: Sequence[Rods]) -> Rods:
    """Return all rods of several groups, in order."""
    return Rods(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rods)))


def within(group: Rods, value: float) -> Rods:
    """Return rods that lie inside other rods of the given attenuation rather than in the tissue of the grid."""
    return replace(group, inside=np.full(len(group), value))


def scaled(group: Rods, scale: Point) -> Rods:
    """Return rods of the standard frame in the patient's own frame; thickness stays, length follows, balls keep their size."""
    factor = np.asarray(scale)
    centre = group.centre
    half = (group.end - group.start) / 2
    half = np.where(group.ball[:, None], half, half * factor)
    centre = centre * factor
    return replace(group, start=centre - half, end=centre + half)


def _cross(a: Doubles, b: Doubles) -> Doubles:
    """Return the cross product along the last axis; much faster than numpy's for few vectors."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


@dataclass(frozen=True)
class _Pieces:
    """Everything of a rod's projection that is linear in the pixel offset from its centre."""

    row: Doubles
    column: Doubles
    reach: Doubles
    first: Doubles
    second: Doubles
    depth: Doubles
    chord: Doubles
    limit: Doubles
    slant: Doubles
    soft: Doubles


def project(group: Rods, beam: Beam, tissue: Floats | None, near: float, step: float) -> Floats:
    """Return what the rods add to the line integral of relative attenuation, `rows columns`, mm.

    Each rod contributes its chord times the difference between its value and the tissue it replaces; inside one rod the rays
    are taken as parallel.

    Args:
        group: Rods in the patient's frame.
        beam: The cone beam.
        tissue: `rows columns depth` relative attenuation without the rods; None counts the chord alone.
        near: Depth at which the first sample cell of `tissue` begins, mm.
        step: Distance of its sample planes, mm.
    """
    shape = (len(beam.rows), len(beam.columns))
    if not len(group):
        return np.zeros(shape, dtype=np.float32)
    pieces = _pieces(group, beam)
    low_row = np.clip(np.ceil(pieces.row - pieces.reach[:, 0]), 0, shape[0]).astype(np.int64)
    high_row = np.clip(np.floor(pieces.row + pieces.reach[:, 0]) + 1, 0, shape[0]).astype(np.int64)
    low_column = np.clip(np.ceil(pieces.column - pieces.reach[:, 1]), 0, shape[1]).astype(np.int64)
    high_column = np.clip(np.floor(pieces.column + pieces.reach[:, 1]) + 1, 0, shape[1]).astype(np.int64)
    wide = np.maximum(high_column - low_column, 0)
    count = np.maximum(high_row - low_row, 0) * wide
    rod = np.repeat(np.arange(len(group)), count)
    local = np.arange(len(rod)) - np.repeat(np.cumsum(count) - count, count)
    down, right = np.divmod(local, wide[rod])
    row, column = low_row[rod] + down, low_column[rod] + right
    dr, dc = (row - pieces.row[rod]).astype(np.float32), (column - pieces.column[rod]).astype(np.float32)

    def linear(terms: Doubles) -> Floats:
        part = terms.astype(np.float32)[rod]
        value: Floats = part[:, 0] + part[:, 1] * dr + part[:, 2] * dc
        return value

    first, second = linear(pieces.first), linear(pieces.second)
    is_ball = pieces.limit.astype(bool)[rod]
    inside = 1 - first * first - np.where(is_ball, second * second, 0)
    length = np.sqrt(np.maximum(inside, 0)) * pieces.chord.astype(np.float32)[rod]
    length *= np.where(
        is_ball, 1, _between_ends(second, length, pieces.slant.astype(np.float32)[rod], pieces.soft.astype(np.float32)[rod])
    )
    if tissue is not None:
        plane = np.clip((linear(pieces.depth) - near) / step, 0, tissue.shape[2] - 1).astype(np.int64)
        here = tissue[row, column, plane]
        around = group.inside.astype(np.float32)[rod]
        here = np.where(np.isnan(around), here, around)
        hidden = group.aerated[rod] & (here < 0.045)
        length *= np.where(hidden, 0, group.value.astype(np.float32)[rod] - here)
    total = np.bincount(row * shape[1] + column, weights=length, minlength=shape[0] * shape[1])
    image: Floats = total.reshape(shape).astype(np.float32)
    return image


def _between_ends(middle: Floats, length: Floats, slant: Floats, soft: Floats) -> Floats:
    """Return the share of a chord of the endless rod that lies between the rod's flat ends.

    Args:
        middle: Position of the chord's middle along the rod, in half lengths.
        length: Length of the chord in the endless rod, mm.
        slant: Half lengths along the rod per mm of chord.
        soft: Width of the ends' soft edge, in half lengths.
    """
    middle = np.abs(middle)
    half = np.maximum(0.5 * length * slant, soft)
    inside: Floats = np.minimum(middle + half, 1) - np.maximum(middle - half, -1)
    share: Floats = np.maximum(inside, 0) / (2 * half)
    return share


def _pieces(group: Rods, beam: Beam) -> _Pieces:
    """Prepare a projection: see `project`."""
    depth_axis, column_axis = beam.depth_axis, beam.column_axis
    source = np.asarray(beam.source)
    centre = group.centre
    frame, half = group.frame()
    ray = centre - source
    share = ray[:, depth_axis] / beam.throw
    ray = ray / np.sqrt(np.sum(ray * ray, axis=1, keepdims=True))
    pitch = np.array([beam.rows[1] - beam.rows[0], beam.columns[1] - beam.columns[0]])
    on_row = source[2] + (centre[:, 2] - source[2]) / share
    on_column = source[column_axis] + (centre[:, column_axis] - source[column_axis]) / share
    moves = np.zeros((len(group), 2, 3))  # world movement at the rod's depth per pixel down and right
    moves[:, 0, 2], moves[:, 1, column_axis] = share * pitch[0], share * pitch[1]
    end_on = ~group.ball & (np.abs(np.einsum("pj,pj->p", frame[:, 2], ray)) > END_ON)
    half[end_on, 2] *= 1.5  # an ellipsoid of the rod's own volume
    ball = group.ball | end_on
    inverse = frame / half[:, :, None]
    start = np.einsum("pij,pkj->pik", inverse, moves)  # the three scaled coordinates per pixel
    heading = np.einsum("pij,pj->pi", inverse, ray)
    flat = np.hypot(heading[:, 0], heading[:, 1]) + 1e-12
    q = (start[:, 0] * heading[:, 1:2] - start[:, 1] * heading[:, 0:1]) / flat[:, None]
    middle = -(start[:, 0] * heading[:, 0:1] + start[:, 1] * heading[:, 1:2]) / flat[:, None] ** 2
    along = start[:, 2] + middle * heading[:, 2:3]
    norm = np.linalg.norm(heading, axis=1)
    unit = heading / norm[:, None]
    side = _cross(unit, np.where(np.abs(unit[:, :1]) < 0.6, np.array([1.0, 0, 0]), np.array([0, 1.0, 0])))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    first = np.where(ball[:, None], np.einsum("pi,pik->pk", side, start), q)
    second = np.where(ball[:, None], np.einsum("pi,pik->pk", _cross(unit, side), start), along)
    middle = np.where(ball[:, None], -np.einsum("pi,pik->pk", heading, start) / norm[:, None] ** 2, middle)
    chord = 2 / np.where(ball, norm, flat)
    first, second, chord = _widen(first, second, chord, ball)
    soft = 0.5 * np.abs(share * pitch[0]) / half[:, 2]
    slant = np.abs(heading[:, 2])
    reach = _reach(first, second, ball, np.maximum(soft, 0.5 * chord * slant))
    nothing = np.zeros((len(group), 1))
    depth = np.concatenate([centre[:, [depth_axis]], middle * ray[:, [depth_axis]]], axis=1)
    return _Pieces(
        row=(on_row - beam.rows[0]) / pitch[0],
        column=(on_column - beam.columns[0]) / pitch[1],
        reach=reach,
        first=np.concatenate([nothing, first], axis=1),
        second=np.concatenate([nothing, second], axis=1),
        depth=depth,
        chord=chord,
        limit=ball,
        slant=slant,
        soft=soft,
    )


def _widen(first: Doubles, second: Doubles, chord: Doubles, ball: NDArray[np.bool_]) -> tuple[Doubles, Doubles, Doubles]:
    """Widen what is thinner than a pixel and thin it out by the same factor."""
    thin = np.minimum(1 / (np.hypot(first[:, 0], first[:, 1]) + 1e-12) / FINEST, 1)
    area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) + 1e-12
    round_ = np.minimum(np.sqrt(1 / area) / FINEST, 1)
    factor = np.where(ball, round_, thin)
    return (
        first * factor[:, None],
        np.where(ball[:, None], second * factor[:, None], second),
        chord * np.where(ball, factor**2, factor),
    )


def _reach(first: Doubles, second: Doubles, ball: NDArray[np.bool_], soft: Doubles) -> Doubles:
    """Return the half extent of each projection in pixels, `rods 2` (rows, columns)."""
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    # Columns of the inverse of [first; second]: the pixel offsets at which (first, second) is (1, 0) and (0, 1).
    one = np.stack([second[:, 1], -second[:, 0]], axis=1) / area[:, None]
    two = np.stack([-first[:, 1], first[:, 0]], axis=1) / area[:, None]
    parallelogram = np.abs(one) + np.abs(two) * (1 + soft)[:, None]
    return np.minimum(np.where(ball[:, None], np.hypot(one, two), parallelogram), 4096.0)


def rasterise(group: Rods, grid: Grid, values: Floats) -> NDArray[np.bool_]:
    """Write the rods into a volume of relative attenuation, in place, and return which voxels they fill."""
    filled = np.zeros(grid.shape, dtype=bool)
    axes, halves = group.frame()
    for index, centre in enumerate(group.centre):
        frame, half = axes[index], halves[index]
        reach = np.abs(frame * half[:, None]).sum(axis=0) + grid.softness
        box = grid.box(tuple(centre - reach), tuple(centre + reach))
        if box is None:
            continue
        offset = [part - np.float32(c) for part, c in zip(grid.at(box), centre, strict=True)]
        a, b, c = (
            sum(o * np.float32(f) for o, f in zip(offset, axis / size, strict=True))
            for axis, size in zip(frame, half, strict=True)
        )
        inside = (a * a + b * b + c * c < 1) if group.ball[index] else (a * a + b * b < 1) & (np.abs(c) <= 1.02)
        part = values[box]
        if group.aerated[index]:
            inside &= part > 0.045
        part[inside] = group.value[index]
        filled[box] |= inside
    return filled
