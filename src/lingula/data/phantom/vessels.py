"""The branching pulmonary vessels and the airways, as rods."""

from __future__ import annotations

import numpy as np

from lingula.data.phantom.anatomy import CARINA, HILUM, Shape
from lingula.data.phantom.rods import Doubles, Rods, join, path, rods
from lingula.data.phantom.scene import BLOOD

LENGTHS = (27.0, 24.0, 21.0, 18.0, 15.0, 12.0, 10.0)
"""Mean length of a vessel by generation, mm."""
ROOT_RADIUS, TAPER = 5.2, 0.79
ROOTS = np.array(
    [
        (0.3, 0.2, 1),
        (0.75, -0.25, 0.75),
        (0.8, 0.55, 0.25),
        (0.9, -0.4, 0.0),
        (0.55, 0.6, -0.65),
        (0.75, -0.2, -0.7),
        (0.4, -0.45, -1),
        (0.2, 0.1, -0.9),
    ]
)
"""Directions of the segmental vessels of a right lung at its hilum."""


def vessels(shape: Shape, *, finest: float) -> Rods:
    """Return the vessels of both lungs whose radius is at least `finest` (mm)."""
    a = shape.anatomy
    g = np.random.default_rng((a.seed, 5))
    way = np.repeat([1.0, -1.0], len(ROOTS))
    hilum = np.repeat(np.array([HILUM["right"], HILUM["left"]]), len(ROOTS), axis=0) + np.array([0.0, 0.0, -8.0])
    hilum[:, 0] += 2 * way
    roots = np.concatenate([ROOTS * (1, 1, 1), ROOTS * (-1, 1, 1)])
    direction = _unit(roots + g.normal(0, 0.14, roots.shape))
    point = hilum + g.normal(0, 3, roots.shape) + direction * 4
    radius = ROOT_RADIUS * a.vessel_gain * g.uniform(0.7, 1.1, len(roots))
    parts: list[tuple[Doubles, Doubles, Doubles]] = []
    for length in LENGTHS:
        end = point + direction * (length * g.uniform(0.75, 1.25, (len(point), 1)))
        bend, split = g.normal(0, 0.28, (2, *direction.shape)), g.normal(0, 1, direction.shape)
        spread, share = g.uniform(0.3, 0.75, (len(end), 1)), g.uniform(0.85, 1.1, (2, len(end)))
        inside = shape.inside_lungs(way, end.astype(np.float32)) < 0.93
        parts.append((point[inside], end[inside], radius[inside]))
        if not inside.any() or radius.max() * TAPER * shape.vessel_gain * 1.12 < finest:
            break
        split -= np.sum(split * direction, axis=1, keepdims=True) * direction
        split = _unit(split) * spread
        ahead = direction + 0.22 * _unit(end - hilum)
        both = _unit(np.stack([ahead + split, ahead - split]) + bend)[:, inside]
        point, way, hilum = (np.concatenate([part[inside]] * 2) for part in (end, way, hilum))
        direction, radius = both.reshape(-1, 3), (share[:, inside] * TAPER * radius[inside]).reshape(-1)
    start, end, radius = (np.concatenate(column) for column in zip(*parts, strict=True))
    low = np.clip((60 - (start[:, 2] + end[:, 2]) / 2) / 130, 0, 1)  # upright: vessels of the bases are wider
    radius = radius * shape.vessel_gain * (0.82 + 0.3 * low)
    keep = radius >= finest
    return rods(start[keep], end[keep], radius[keep], BLOOD, aerated=True)


def _unit(vectors: Doubles) -> Doubles:
    result: Doubles = vectors / np.maximum(np.sqrt(np.sum(vectors * vectors, axis=-1, keepdims=True)), 1e-9)
    return result


def airways(shape: Shape) -> Rods:
    """Return the air inside trachea, main and lobar bronchi."""
    shift = shape.anatomy.trachea_shift
    wide = 8.3 if shape.anatomy.sex == "M" else 7.1
    trachea = np.array([(shift * 0.3, -2, 200), (shift * 0.6, -8, 130), (shift, -14, 80), CARINA], dtype=float)
    right = np.array([(7.0, -18.5, 30.0), (22.0, -20.0, 20.0), (34.0, -20.0, 5.0), (40.0, -26.0, -22.0)])
    left = np.array([(-4.0, -19.0, 30.0), (-20.0, -22.0, 22.0), (-38.0, -22.0, 10.0), (-44.0, -30.0, -18.0)])
    upper = np.array([[(24.0, -20.0, 19.0), (42.0, -16.0, 34.0)], [(-36.0, -22.0, 12.0), (-48.0, -12.0, 24.0)]])
    return join(
        [
            path(trachea, wide, 0.0),
            path(right, np.array([6.8, 5.2, 3.6]), 0.0),
            path(left, np.array([6.0, 5.0, 3.6]), 0.0),
            rods(upper[:, 0], upper[:, 1], 3.6, 0.0),
        ]
    )
