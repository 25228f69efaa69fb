"""Soft-edged solids on a grid: ellipsoids and capsules, each evaluated only inside its own bounding box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from lingula.data.phantom.grid import Box, Floats, Grid, Point

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)


class Ellipsoid(NamedTuple):
    """An ellipsoid; `tilt` turns it in the coronal plane (x towards z), radians; lengths in mm."""

    centre: Point
    radii: Point
    tilt: float = 0.0


class Capsule(NamedTuple):
    """A cylinder with round ends; mm."""

    start: Point
    end: Point
    radius: float


class Column(NamedTuple):
    """An upright tube with an elliptic section; its centre and radii are interpolated between ascending heights; mm."""

    z: tuple[float, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    rx: tuple[float, ...]
    ry: tuple[float, ...]


Solid: TypeAlias = Ellipsoid | Capsule | Column


class Cover(NamedTuple):
    """How much of each sample in a box belongs to a structure, 0 to 1."""

    box: Box
    share: Floats


def soften(distance: Floats, width: float) -> Floats:
    """Turn a signed distance (mm, negative inside) into a share between 0 and 1, in place."""
    distance *= np.float32(-1.0 / width)
    distance += HALF
    return clamp(distance)


def clamp(values: Floats) -> Floats:
    """Limit values to 0..1, in place."""
    np.clip(values, ZERO, ONE, out=values)
    return values


def cover(grid: Grid, solids: Sequence[Solid]) -> Cover | None:
    """Return the union of solids, or None where the grid holds no sample of it."""
    corners = [_corners(solid, grid.softness) for solid in solids]
    boxes = [grid.box(low, high) for low, high in corners]
    found = [(box, solid) for box, solid in zip(boxes, solids, strict=True) if box is not None]
    if not found:
        return None
    if len(found) == 1:
        return Cover(found[0][0], _share(grid, *found[0]))
    low = [min(box[i].start for box, _ in found) for i in range(3)]
    high = [max(box[i].stop for box, _ in found) for i in range(3)]
    share = np.zeros([b - a for a, b in zip(low, high, strict=True)], dtype=np.float32)
    for box, solid in found:
        part = share[tuple(slice(s.start - a, s.stop - a) for s, a in zip(box, low, strict=True))]
        np.maximum(part, _share(grid, box, solid), out=part)
    whole = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Cover((whole[0], whole[1], whole[2]), share)


def _corners(solid: Solid, margin: float) -> tuple[Point, Point]:
    if isinstance(solid, Capsule):
        pad = solid.radius + margin
        low = [min(a, b) - pad for a, b in zip(solid.start, solid.end, strict=True)]
        high = [max(a, b) + pad for a, b in zip(solid.start, solid.end, strict=True)]
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])
    if isinstance(solid, Column):
        wide, deep = max(solid.rx) + margin, max(solid.ry) + margin
        return (min(solid.x) - wide, min(solid.y) - deep, solid.z[0]), (max(solid.x) + wide, max(solid.y) + deep, solid.z[-1])
    cos, sin = math.cos(solid.tilt), math.sin(solid.tilt)
    rx, ry, rz = solid.radii
    reach = (math.hypot(rx * cos, rz * sin) + margin, ry + margin, math.hypot(rx * sin, rz * cos) + margin)
    x, y, z = solid.centre
    return (x - reach[0], y - reach[1], z - reach[2]), (x + reach[0], y + reach[1], z + reach[2])


def _share(grid: Grid, box: Box, solid: Solid) -> Floats:
    if isinstance(solid, Ellipsoid):
        return _ellipsoid(grid, box, solid)
    return _column(grid, box, solid) if isinstance(solid, Column) else _capsule(grid, box, solid)


def _column(grid: Grid, box: Box, solid: Column) -> Floats:
    x, y, z = grid.at(box)
    cx, cy, rx, ry = (np.interp(z, solid.z, values).astype(np.float32) for values in (solid.x, solid.y, solid.rx, solid.ry))
    level: Floats = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
    np.sqrt(level, out=level)
    level -= ONE
    thin = 0.7 * min(max(solid.rx), max(solid.ry))
    level *= np.float32(thin)
    return soften(level, min(grid.softness, 2 * thin))


def _ellipsoid(grid: Grid, box: Box, solid: Ellipsoid) -> Floats:
    x, y, z = grid.at(box)
    dx, dy, dz = x - np.float32(solid.centre[0]), y - np.float32(solid.centre[1]), z - np.float32(solid.centre[2])
    rx, ry, rz = (np.float32(r) for r in solid.radii)
    dy = dy / ry
    if solid.tilt:
        cos, sin = np.float32(math.cos(solid.tilt)), np.float32(math.sin(solid.tilt))
        first = dx * (cos / rx) + dz * (sin / rx)
        first *= first
        second = dz * (cos / rz) - dx * (sin / rz)
        second *= second
        first += second
        level: Floats = first + dy * dy
    else:
        dx, dz = dx / rx, dz / rz
        level = dx * dx + dy * dy + dz * dz
    np.sqrt(level, out=level)
    level -= np.float32(1)
    level *= min(rx, ry, rz)
    return soften(level, min(grid.softness, 2 * float(min(rx, ry, rz))))


def _capsule(grid: Grid, box: Box, solid: Capsule) -> Floats:
    x, y, z = grid.at(box)
    axis = np.subtract(solid.end, solid.start)
    length = math.sqrt(float(axis @ axis))
    ux, uy, uz = (np.float32(a) for a in axis / max(length, 1e-6))
    dx, dy, dz = x - np.float32(solid.start[0]), y - np.float32(solid.start[1]), z - np.float32(solid.start[2])
    along = dx * ux + dy * uy + dz * uz
    nearest = np.clip(along, ZERO, np.float32(length))
    square: Floats = dx * dx + dy * dy + dz * dz
    along *= 2
    along -= nearest
    along *= nearest
    square -= along
    np.maximum(square, 0, out=square)
    np.sqrt(square, out=square)
    square -= np.float32(solid.radius)
    return soften(square, min(grid.softness, 2 * solid.radius))
