"""One patient's healthy anatomy as a handful of numbers, and the surfaces that follow from them.

Everything is written in a standard frame (mm, RAS+, origin at the middle of the chest), which `Anatomy.scale` stretches to the
patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lingula.data.phantom.grid import Floats, Point

Side = Literal["right", "left"]
SIDES: tuple[Side, Side] = ("right", "left")


def sign(side: Side) -> float:
    """Return +1 for the patient's right, -1 for the left: the direction of x."""
    return 1.0 if side == "right" else -1.0


@dataclass(frozen=True)
class Anatomy:
    """What makes one patient's chest differ from another's; lengths in mm of the standard frame."""

    sex: Literal["F", "M"]
    age: int
    scale: Point
    fat: float
    muscle: float
    breast: float
    breast_droop: float
    lung_depth: float
    apex: float
    widest: float
    lung_attenuation: float
    dome_right: float
    dome_left: float
    dome_curve: float
    heart_width: float
    heart_tilt: float
    heart_shift: float
    fat_pad: float
    mediastinum: float
    aorta_radius: float
    aorta_unfolding: float
    trachea_shift: float
    scoliosis: float
    bone: float
    rib_slope: float
    rib_radius: float
    vessel_gain: float
    stomach_gas: float
    colon_gas: float
    nipples: bool
    granuloma: bool
    seed: int

    @property
    def chest_half_width(self) -> float:
        """Inner half-width of the rib cage at its widest, mm."""
        return 130.0


def sample_anatomy(generator: np.random.Generator) -> Anatomy:
    """Draw a patient from the normal variation of size, age, build and shape."""
    g = generator
    female = g.random() < 0.48
    age = int(np.clip(g.normal(60, 17), 19, 94))
    size = g.normal(0.955 if female else 1.02, 0.045)
    old = (age - 55) / 25
    dome = float(g.normal(-70, 11))
    return Anatomy(
        sex="F" if female else "M",
        age=age,
        scale=(float(size * g.normal(1, 0.035)), float(size * g.normal(1, 0.05)), float(size * g.normal(1, 0.04))),
        fat=float(np.clip(np.exp(g.normal(2.55, 0.45)), 5, 38)),
        muscle=float(np.clip(g.normal(15 if female else 19, 3), 9, 28)),
        breast=float(np.clip(g.normal(48, 12), 25, 75)) if female else 0.0,
        breast_droop=float(g.uniform(0, 22)),
        lung_depth=float(g.normal(86, 6)),
        apex=float(g.normal(128, 5)),
        widest=float(g.normal(-55, 10)),
        lung_attenuation=float(np.clip(g.normal(0.175, 0.04), 0.11, 0.28)),
        dome_right=dome,
        dome_left=dome - float(g.uniform(3, 20)),
        dome_curve=float(np.clip(g.normal(1, 0.28), 0.45, 1.7)),
        heart_width=float(g.normal(0.96 + 0.03 * old, 0.07)),
        heart_tilt=float(g.normal(0.62, 0.12)),
        heart_shift=float(g.normal(0, 6)),
        fat_pad=float(np.clip(g.normal(12, 11), 0, 34)),
        mediastinum=float(g.normal(22 + 1.5 * old, 3.3)),
        aorta_radius=float(np.clip(g.normal(13 + 1.3 * old, 1.2), 10, 19)),
        aorta_unfolding=float(np.clip(g.normal(0.35 + 0.3 * old, 0.25), 0, 1.2)),
        trachea_shift=float(g.normal(3, 2.5)),
        scoliosis=float(g.normal(0, 5)),
        bone=float(np.clip(g.normal(1.0 - 0.08 * old, 0.1), 0.65, 1.25)),
        rib_slope=float(g.normal(1, 0.12)),
        rib_radius=float(np.clip(g.normal(1, 0.08), 0.8, 1.2)),
        vessel_gain=float(np.clip(g.normal(1, 0.1), 0.75, 1.3)),
        stomach_gas=float(g.uniform(0, 28)),
        colon_gas=float(max(0.0, g.normal(0, 12))),
        nipples=bool(g.random() < 0.12),
        granuloma=bool(g.random() < 0.08),
        seed=int(g.integers(2**31)),
    )


@dataclass(frozen=True)
class Shape:
    """The surfaces of one examination: anatomy, breath and what the findings did to them; mm of the standard frame."""

    anatomy: Anatomy
    dome: dict[Side, float]
    """Height of each diaphragm dome."""
    dome_curve: float
    heart: float
    """Width of the heart relative to an average one."""
    lung_attenuation: float
    """Attenuation of aerated lung relative to water."""
    vessel_gain: float
    """Vessel calibre relative to an average one."""

    def lung_profile(self, z: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return a lung's centre |x|, half-width, half-depth and centre y at heights z."""
        a = self.anatomy
        t = np.clip((z - a.widest) / (a.apex - a.widest), 0, 1.1).astype(np.float32)
        narrow = 1 - 0.07 * (np.clip(a.widest - z, 0, 90) / 80) ** 2
        half = 63 * np.sqrt(np.maximum(1 - t**2.3, 1e-9)) * narrow
        centre = 44 + (67 * narrow - 44) * (1 - t**2.6)
        depth = a.lung_depth * np.sqrt(np.maximum(1 - 0.97 * t**2.4, 1e-3))
        middle = -3 - 30 * t**2
        return centre.astype(np.float32), half.astype(np.float32), depth.astype(np.float32), middle.astype(np.float32)

    def cage(self, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the rib cage's half-width, half-depth and centre y at heights z."""
        centre, half, depth, middle = self.lung_profile(z)
        return centre + half, np.maximum(depth, 30), middle

    def pleural_level(self, side: Side, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return a level that is 1 at the pleura, less inside the lung (diaphragm and mediastinum aside)."""
        centre, half, depth, middle = self.lung_profile(z)
        across = (x * np.float32(sign(side)) - centre) * (1 / half)
        across *= across
        deep = (y - middle) * (1 / depth)
        deep *= deep
        square = np.float32(1) - np.float32(0.55) * np.minimum(deep, np.float32(1))
        level: Floats = np.asarray(across * square + deep, dtype=np.float32)
        return level

    def dome_height(self, side: Side, x: Floats, y: Floats) -> Floats:
        """Return the height of a hemidiaphragm over x and y."""
        k = np.float32(self.dome_curve * self.anatomy.dome_curve)
        across = x * np.float32(sign(side)) - np.float32(54)
        deep = y - np.float32(24)
        return np.float32(self.dome[side]) - k * np.float32(0.0072) * across * across - k * np.float32(0.0056) * deep * deep

    def inside_lungs(self, way: np.ndarray, points: Floats) -> Floats:
        """Return how deep points `n 3` lie in the lung of their side: 1 at the pleura or the diaphragm, less inside.

        Args:
            way: +1 for the right lung, -1 for the left, `n`.
            points: mm.
        """
        x, y, z = points.T.astype(np.float32)
        x = (x * way).astype(np.float32)
        level = self.pleural_level("right", x, y, z)
        dome = self.dome_height("right", x, y) + np.where(way > 0, 0, self.dome["left"] - self.dome["right"])
        deepest: Floats = np.maximum(level, 1 - (z - dome) / 60)
        return deepest

    def spine(self, z: Floats) -> tuple[Floats, Floats]:
        """Return x and y of the middle of the vertebral bodies at heights z."""
        x = self.anatomy.scoliosis * np.sin(z / 70)
        y = -60 - 14 * np.exp(-(((z - 20) / 90) ** 2))
        return x.astype(np.float32), y.astype(np.float32)

    @property
    def lift(self) -> float:
        """How far the heart moves up with the diaphragm, mm."""
        return 0.55 * ((self.dome["right"] + self.dome["left"]) / 2 + 76)


VERTEBRAE = [125.0 - 22.5 * i for i in range(13)]
"""Heights of the vertebrae T1 to L1, mm."""
HILUM: dict[Side, Point] = {"right": (34.0, -8.0, 12.0), "left": (-36.0, -10.0, 20.0)}
CARINA: Point = (2.0, -18.0, 34.0)
