"""Where in a lung something lies: lobes, fissures, and points drawn inside them."""

from __future__ import annotations

import numpy as np

from lingula.data.phantom.anatomy import Shape, Side, sign
from lingula.data.phantom.findings import Fact
from lingula.data.phantom.grid import Floats
from lingula.data.phantom.rods import Doubles

MINOR_FISSURE = 8.0
"""Height of the horizontal fissure, mm; on the left, where the lingula begins."""
_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "upper": ((-0.35, 0.55), (-0.45, 0.5), (0.6, 0.88)),
    "middle": ((-0.3, 0.5), (0.35, 0.7), (0.14, 0.36)),
    "lower": ((-0.35, 0.6), (-0.7, -0.3), (0.06, 0.5)),
}
"""Ranges of a lobe: across the lung, from back to front, from dome to apex; in fractions."""


def lobe_level(lobe: str) -> str:
    """Return upper, middle or lower for the name of a lobe; the lingula counts as middle."""
    return next((name for name in ("upper", "lower") if name in lobe), "middle")


def fissure_height(y: Floats) -> Floats:
    """Return the height of the oblique fissure at depth y, mm."""
    return -19 - 0.93 * y


def lobe_distance(lobe: str, y: Floats, z: Floats) -> Floats:
    """Return a signed distance to a lobe as its fissures bound it (mm, negative inside)."""
    oblique: Floats = (z - fissure_height(y)) * np.float32(0.73)
    level = lobe_level(lobe)
    if level == "lower":
        return oblique
    other = (np.float32(MINOR_FISSURE) - z) if level == "upper" else (z - np.float32(MINOR_FISSURE))
    result: Floats = np.maximum(-oblique, other)
    return result


def point_in_lobe(shape: Shape, side: Side, lobe: str, spot: tuple[float, float, float], margin: float) -> Doubles:
    """Return a point at least about `margin` mm inside a lobe; `spot` gives three numbers in 0..1."""
    across, deep, up = (low + (high - low) * s for (low, high), s in zip(_RANGES[lobe_level(lobe)], spot, strict=True))
    top, bottom = shape.anatomy.apex, shape.dome[side]
    z = float(np.clip(bottom + up * (top - bottom), bottom + margin, top - margin - 8))
    centre, half, depth, middle = (float(part[0]) for part in shape.lung_profile(np.array([z], dtype=np.float32)))
    room = max(0.0, half - margin) / half
    return np.array([sign(side) * (centre + np.clip(across, -room, room) * half), middle + deep * 0.9 * depth, z])


def points_in_lung(shape: Shape, side: Side, count: int, generator: np.random.Generator, low: float, high: float) -> Doubles:
    """Return random points between two heights (0 the dome, 1 the apex), `points 3` (mm); some may lie outside the lung."""
    bottom, tall = shape.dome[side], shape.anatomy.apex - shape.dome[side]
    z = generator.uniform(bottom + low * tall, bottom + high * tall, count)
    centre, half, depth, middle = (np.asarray(part, dtype=np.float64) for part in shape.lung_profile(z.astype(np.float32)))
    x = sign(side) * (centre + generator.uniform(-1, 1, count) * half)
    return np.stack([x, middle + generator.uniform(-1, 1, count) * depth, z], axis=1)


def generator_of(fact: Fact, *parts: int) -> np.random.Generator:
    """Return the generator of a fact's fine structure."""
    return np.random.default_rng((fact.seed, *parts))
