"""Ribs, clavicles, shoulder blades, sternum and the posterior parts of the vertebrae, as rods."""

from __future__ import annotations

import numpy as np

from lingula.data.phantom.anatomy import SIDES, VERTEBRAE, Shape, Side
from lingula.data.phantom.rods import Doubles, Rods, join, rods, within

RIB_POINTS = 15
CORTEX, MARROW = 2.15, 1.2
_ENDS = (118, 132, 138, 140, 141, 139, 135, 128, 116, 100, 78, 58)
"""Angle around the chest at which a rib becomes cartilage, degrees from the spine."""
_DROPS = (26, 38, 50, 62, 72, 80, 86, 90, 88, 76, 52, 36)
"""How far a rib descends from back to front, mm."""


def rib_courses(shape: Shape, points: int = RIB_POINTS) -> tuple[Doubles, Doubles]:
    """Return the centre lines of all ribs from spine to cartilage and their outward normals.

    Both are `sides ribs points 3`, the right side first, the first rib first; mm.
    """
    a = shape.anatomy
    generator = np.random.default_rng((a.seed, 3))
    along = np.linspace(0, 1, points)
    drop = (np.array(_DROPS) * a.rib_slope * generator.normal(1, 0.03, (2, 12)))[..., None]
    angle = np.radians(14 + (np.array(_ENDS) - 14)[:, None] * along)
    number = np.arange(12)[:, None]
    z = np.array(VERTEBRAE[:12])[:, None] + 3 + 5 * np.sin(np.pi * np.minimum(along * 3, 1)) * (number > 0) - drop * along**1.55
    z = z + 16 * np.clip(along - 0.86, 0, None) / 0.14 * ((number > 6) & (number <= 9))
    half, depth, middle = (np.asarray(part, dtype=np.float64) for part in shape.cage(z.astype(np.float32)))
    half = np.maximum(half, np.where(number > 0, 60.0, 50.0)) + 4
    side = np.array([1.0, -1.0])[:, None, None]
    x = side * half * np.sin(angle) ** 0.92
    y = middle - (np.maximum(depth, 48) + 4) * np.cos(angle)
    spine_x, spine_y = (
        np.asarray(part, dtype=np.float64)[:, None] for part in shape.spine(np.array(VERTEBRAE[:12], dtype=np.float32))
    )
    near = np.exp(-along * 9)
    y = y * (1 - near) + (spine_y - 14) * near
    x = x * (1 - 0.4 * near) + near * (0.4 * side * 22 + spine_x)
    normal = np.stack([x / half**2, (y - middle) / np.maximum(depth, 40) ** 2, np.zeros_like(x)], axis=-1)
    normal /= np.sqrt(np.sum(normal**2, axis=-1, keepdims=True))
    return np.stack([x, y, z], axis=-1), normal


def bone_rods(shape: Shape, points: Doubles, normal: Doubles, *, fine: bool) -> Rods:
    """Return flat bones of a rib's section along `... points 3` (mm) with the given outward normals.

    With `fine`, the marrow is a separate rod inside the cortex.
    """
    a = shape.anatomy
    count = points.shape[-2] - 1
    width = np.interp(np.linspace(0, 1, count), (0, 0.15, 0.8, 1), (4.6, 5.8, 6.2, 6.8)) * a.rib_radius
    width = np.broadcast_to(width, (*points.shape[:-2], count)).reshape(-1)
    thick = 3.4 * a.rib_radius
    thin = (normal[..., :-1, :] + normal[..., 1:, :]).reshape(-1, 3)
    start, end = points[..., :-1, :].reshape(-1, 3), points[..., 1:, :].reshape(-1, 3)
    cortex, marrow = 1 + (CORTEX - 1) * a.bone, 1 + (MARROW - 1) * a.bone
    if fine:
        inner = rods(start, end, thick - 1.15, marrow, height=width - 1.25, normal=thin)
        return join([rods(start, end, thick, cortex, height=width, normal=thin), within(inner, cortex)])
    hole = (thick - 1.15) * (width - 1.25) / (thick * width)
    return rods(start, end, thick, cortex + hole * (marrow - cortex), height=width, normal=thin)


def skeleton(shape: Shape, *, fine: bool, skip: frozenset[tuple[Side, int]] = frozenset()) -> Rods:
    """Return all bones but the vertebral bodies; `skip` names ribs that a finding draws itself."""
    points, normal = rib_courses(shape, 2 * RIB_POINTS - 1 if fine else RIB_POINTS)
    keep = np.array([[(side, rib) not in skip for rib in range(12)] for side in SIDES])
    parts = [bone_rods(shape, points[keep], normal[keep], fine=fine)]
    parts += _shoulders(shape)
    parts += _vertebral_arches(shape)
    parts.append(_sternum(shape))
    return join(parts)


def _shoulders(shape: Shape) -> list[Rods]:
    """Return clavicles and shoulder blades of both sides."""
    a = shape.anatomy
    g = np.random.default_rng((a.seed, 77))
    bone = a.bone
    lift, spread = g.normal(0, 4), g.normal(0, 8)
    mirror = np.array([[1.0, a.lung_depth / 86, 1.0], [-1.0, a.lung_depth / 86, 1.0]])[:, None]
    curve = [
        (14, 62, 106),
        (34, 64, 110),
        (62, 56, 117 + lift),
        (90, 38, 124 + lift),
        (118, 14, 128 + lift),
        (146, 0, 127 + lift),
    ]
    clavicle = np.array(curve) * mirror
    medial = np.array([(100 + spread, -92, 112), (106 + spread, -97, 62), (120 + spread, -97, 5)]) * mirror
    lateral = np.array([(150 + spread, -60, 104), (140 + spread, -76, 55), (123 + spread, -94, 8)]) * mirror
    spine = np.array([(100 + spread, -96, 92), (140 + spread, -84, 112), (166 + spread, -42, 128 + lift)]) * mirror
    middle = (medial + lateral) / 2
    across = lateral - medial
    half = np.sqrt(np.sum(across**2, axis=-1)) / 2
    facing = np.stack([across[..., 1], -across[..., 0], 0 * across[..., 0]], axis=-1)[:, :-1].reshape(-1, 3)
    plate = _chain(middle, 1.3, 1 + 0.5 * bone, height=((half[:, :-1] + half[:, 1:]) / 2).reshape(-1), normal=facing)
    return [
        _chain(clavicle, np.tile([7.5, 5.8, 5.2, 5.4, 6.0], 2), 1 + 0.42 * bone),
        plate,
        _chain(medial, 2.2, 1 + 0.6 * bone),
        _chain(lateral, 3.6, 1 + 0.55 * bone),
        _chain(spine, 5.0, 1 + 0.4 * bone),
    ]


def _chain(
    points: Doubles, radius: Doubles | float, value: float, *, height: Doubles | None = None, normal: Doubles | None = None
) -> Rods:
    """Return chains of rods along `chains points 3` (mm)."""
    return rods(points[:, :-1].reshape(-1, 3), points[:, 1:].reshape(-1, 3), radius, value, height=height, normal=normal)


def _vertebral_arches(shape: Shape) -> list[Rods]:
    z = np.array(VERTEBRAE)
    x, y = (np.asarray(part, dtype=np.float64) for part in shape.spine(z.astype(np.float32)))
    value = 1 + 0.38 * shape.anatomy.bone
    parts = [
        rods(
            _at(x, y - 30, z - 4), _at(x, y - 42, z - 14), 2.8, 1 + 0.26 * shape.anatomy.bone, height=5.0, normal=(1.0, 0.0, 0.0)
        )
    ]
    for s in (1.0, -1.0):
        parts.append(
            rods(_at(x + s * 11, y - 12, z + 3), _at(x + s * 12, y - 24, z + 3), 4.2, 1 + 0.6 * shape.anatomy.bone, height=5.5)
        )
        parts.append(rods(_at(x + s * 12, y - 24, z + 2), _at(x + s * 32, y - 30, z + 5), 4.0, value))
        parts.append(rods(_at(x + s * 10, y - 26, z + 2), _at(x, y - 32, z - 2), 3.5, value))
    return parts


def _sternum(shape: Shape) -> Rods:
    front = shape.anatomy.lung_depth - 2
    points = np.array([(0, front - 24, 106), (0, front - 12, 74), (0, front - 3, 20), (0, front - 1, -42)], dtype=float)
    normal = np.tile([0.0, 1.0, 0.25], (3, 1))
    return rods(points[:-1], points[1:], 5.0, 1 + 0.2 * shape.anatomy.bone, height=np.array([25.0, 17.0, 18.0]), normal=normal)


def _at(x: Doubles, y: Doubles, z: Doubles) -> Doubles:
    return np.stack([x, y, z], axis=1)
