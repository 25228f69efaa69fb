"""Thin structures (ribs, vessels, lines, nodules) as short elliptic rods and ellipsoids.

A radiograph integrates them in closed form, so that a vessel thinner than a pixel keeps its attenuation; a volume rasterises
the same rods. Where a rod lies, it replaces what the grid holds there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from lingula.data.phantom.grid import Beam, Floats, Point

Doubles = NDArray[np.float64]
END_ON = 0.995
"""A rod seen under a cosine above this is projected as an ellipsoid of the same size."""
FINEST = 0.7
"""Smallest projected half-width, pixels; a thinner rod is widened and thinned out, so that its integral stays."""

FREE_AIR = 0.045
"""Below this attenuation there is no lung, so no vessel."""


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
    """What a projection needs of each rod; first, second and depth change linearly with the pixel offset (down, right).

    Args:
        row: Where the centre projects to, pixels.
        column: The same across.
        reach: `rods 2`, half extent of the projection, pixels.
        first: `rods 2`, change per pixel of the distance between ray and axis, in radii.
        second: `rods 2`, the same for the position along the axis, in half lengths; of a ball the second distance.
        depth: `rods 2`, change per pixel of the depth of the chord's middle, mm.
        chord: Longest chord, mm.
        slant: Half lengths along the rod per mm of chord.
        soft: Width of the ends' soft edge, in half lengths.
        ball: Which are ellipsoids.
    """

    row: Doubles
    column: Doubles
    reach: Doubles
    first: Doubles
    second: Doubles
    depth: Doubles
    chord: Doubles
    slant: Doubles
    soft: Doubles
    ball: NDArray[np.bool_]


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
    rod, row, column = _pixels_of(pieces, shape)
    down, right = row - _spread(pieces.row, rod), column - _spread(pieces.column, rod)

    def linear(slopes: Doubles) -> Floats:
        value: Floats = _spread(slopes[:, 0], rod) * down
        value += _spread(slopes[:, 1], rod) * right
        return value

    first, second = linear(pieces.first), linear(pieces.second)
    ball = pieces.ball.take(rod)
    length = np.float32(1) - first * first
    length -= np.where(ball, second * second, np.float32(0))
    np.maximum(length, np.float32(0), out=length)
    np.sqrt(length, out=length)
    length *= _spread(pieces.chord, rod)
    length *= np.where(ball, np.float32(1), _between_ends(second, length, _spread(pieces.slant, rod), _spread(pieces.soft, rod)))
    pixel = row * shape[1] + column
    if tissue is not None:
        plane = linear(pieces.depth / step)
        plane += _spread((group.centre[:, beam.depth_axis] - near) / step, rod)
        cell = np.clip(plane, 0, tissue.shape[2] - 1).astype(np.int64)
        here = tissue.reshape(-1).take(pixel * tissue.shape[2] + cell)
        here[group.aerated.take(rod) & (here < FREE_AIR)] = np.nan
        around = np.isfinite(group.inside)
        if around.any():
            here = np.where(around.take(rod), _spread(group.inside, rod), here)
        length *= np.nan_to_num(_spread(group.value, rod) - here)
    total = np.bincount(pixel, weights=length, minlength=shape[0] * shape[1])
    image: Floats = total.reshape(shape).astype(np.float32)
    return image


def _spread(per_rod: Doubles, rod: NDArray[np.int64]) -> Floats:
    """Return a value of each rod for every pixel of that rod."""
    values: Floats = per_rod.astype(np.float32).take(rod)
    return values


def _pixels_of(pieces: _Pieces, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return rod, row and column of every pixel in the bounding box of every rod."""
    edges = []
    for place, axis in ((pieces.row, 0), (pieces.column, 1)):
        low = np.clip(np.ceil(place - pieces.reach[:, axis]), 0, shape[axis]).astype(np.int64)
        high = np.clip(np.floor(place + pieces.reach[:, axis]) + 1, 0, shape[axis]).astype(np.int64)
        edges.append((low, np.maximum(high - low, 0)))
    (top, tall), (left, wide) = edges
    count = tall * wide
    rod = np.repeat(np.arange(len(count)), count)
    local = np.arange(len(rod)) - np.repeat(np.cumsum(count) - count, count)
    down, right = np.divmod(local, wide.take(rod))
    return rod, top.take(rod) + down, left.take(rod) + right


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
    return _Pieces(
        row=(on_row - beam.rows[0]) / pitch[0],
        column=(on_column - beam.columns[0]) / pitch[1],
        reach=reach,
        first=first,
        second=second,
        depth=middle * ray[:, [depth_axis]],
        chord=chord,
        slant=slant,
        soft=soft,
        ball=ball,
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
