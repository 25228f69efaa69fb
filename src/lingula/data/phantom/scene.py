"""The tissue of one examination on a grid, painted structure by structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lingula.data.phantom.anatomy import SIDES, Shape, Side, sign
from lingula.data.phantom.grid import Box, Floats, Grid
from lingula.data.phantom.shapes import HALF, Column, Cover, Solid, clamp, cover

Key: TypeAlias = tuple[int, str]
"""A part of a finding: the number of the fact, and the side it lies on."""

FAT, MUSCLE, SOFT, FLUID, BLOOD = 0.9, 1.045, 1.04, 1.01, 1.05
"""Attenuation relative to water."""


class LungPart(NamedTuple):
    """Samples of one lung: their box, pleural level (1 at the pleura) and coordinates (mm)."""

    box: Box
    level: Floats
    x: Floats
    y: Floats
    z: Floats


class Scene:
    """Relative attenuation and aerated lung at every sample, in the patient's standard frame.

    Args:
        grid: Samples in the standard frame.
        shape: The surfaces of the examination.
    """

    def __init__(self, grid: Grid, shape: Shape) -> None:
        self.grid = grid
        self.shape = shape
        self.value: Floats
        self.lung: Floats = np.zeros(grid.shape, dtype=np.float32)
        self.lung_box: dict[Side, Box] = {}
        self.level: dict[Side, Floats] = {}
        self.parts: dict[Key, list[Cover]] = {}

    def paint(self, covered: Cover | None, value: float | Floats, key: Key | None = None) -> None:
        """Replace what is there, lung or not, by a structure of the given relative attenuation."""
        if covered is None:
            return
        part = self.value[covered.box]
        change = np.float32(value) - part
        change *= covered.share
        part += change
        lung = self.lung[covered.box]
        lung -= lung * covered.share
        if key is not None:
            self.parts.setdefault(key, []).append(covered)

    def paint_solids(self, solids: Sequence[Solid], value: float, key: Key | None = None) -> Cover | None:
        """Replace what is there by the union of solids, and return it."""
        covered = cover(self.grid, solids)
        self.paint(covered, value, key)
        return covered

    def fill_lung(self, covered: Cover, value: float | Floats, key: Key, *, keeps_air: bool = False) -> None:
        """Replace aerated lung inside a cover; other tissue stays.

        Args:
            covered: Where.
            value: New relative attenuation.
            key: The part of the finding that it is.
            keeps_air: Whether the result still counts as aerated lung.
        """
        share = covered.share * self.lung[covered.box]
        part = self.value[covered.box]
        change = np.float32(value) - part
        change *= share
        part += change
        if not keeps_air:
            self.lung[covered.box] -= share
        self.parts.setdefault(key, []).append(Cover(covered.box, share))

    def lung_between(self, side: Side, low: float, high: float) -> LungPart | None:
        """Return the part of one lung between two heights (mm), or None where the grid holds none of it."""
        rows = self.grid.box((-1e5, -1e5, low), (1e5, 1e5, high))
        if rows is None or side not in self.lung_box:
            return None
        box, axis = list(self.lung_box[side]), self.grid.axes[2]
        start, stop = max(box[axis].start, rows[axis].start), min(box[axis].stop, rows[axis].stop)
        if start >= stop:
            return None
        inner = [slice(None)] * 3
        inner[axis] = slice(start - box[axis].start, stop - box[axis].start)
        box[axis] = slice(start, stop)
        whole = (box[0], box[1], box[2])
        return LungPart(whole, self.level[side][tuple(inner)], *self.grid.at(whole))

    def paint_body(self) -> None:
        """Paint skin, fat and muscle, with shoulders and neck."""
        a = self.shape.anatomy
        x, y, z = self.grid.x, self.grid.y, self.grid.z
        wall = a.muscle + a.fat
        rise = np.clip((z - 35) / 90, 0, 1)
        width = (a.chest_half_width + wall + 4) + 42 * rise * rise
        front = (a.lung_depth + 0.75 * wall + 10) * (1 - 0.12 * rise) * (1 - 0.42 * np.clip((z - 118) / 50, 0, 1))
        sharp = 1 / self.grid.softness
        aside, deep = -60 * sharp / width**2, -60 * sharp / front**2
        skin: Floats = np.asarray((x * x) * aside + ((y + 6) ** 2 * deep + (60 * sharp + 0.5)), dtype=np.float32)
        self._cut_shoulders(skin, sharp)
        muscle = skin - np.float32(a.fat * sharp)
        clamp(muscle)
        muscle *= np.float32(MUSCLE - FAT)
        clamp(skin)
        skin *= np.float32(FAT)
        skin += muscle
        self.value = skin
        if a.breast:
            self._paint_breasts()

    def _cut_shoulders(self, skin: Floats, sharp: float) -> None:
        """Limit the body to what lies below the shoulders, but for the neck; `skin` falls through 0.5 at the surface."""
        box = self.grid.box((-1e4, -1e4, 90.0), (1e4, 1e4, 1e4))
        if box is None:
            return
        x, _, z = self.grid.at(box)
        aside = np.abs(x)
        top = np.where(aside < 58, np.float32(400), np.float32(172) - np.float32(0.42) * np.maximum(aside - np.float32(52), 0))
        limit = (top - z) * np.float32(0.8 * sharp) + HALF
        np.minimum(skin[box], limit, out=skin[box])

    def _paint_breasts(self) -> None:
        a = self.shape.anatomy
        r = a.breast
        low = -28 - a.breast_droop - 0.9 * r
        skin = a.lung_depth + 0.75 * (a.muscle + a.fat) - 4
        steps = np.linspace(0, 1, 12)
        bulge = np.sin(np.pi * steps**0.62) ** 0.8
        heights, flat = tuple(low + 2.2 * r * steps), (1.0,) * 12
        wide, deep = tuple((0.35 + 0.75 * bulge) * r), tuple((0.03 + 0.66 * bulge) * r)
        for side in SIDES:
            x = sign(side) * (60 + 0.35 * a.fat)
            covered = cover(self.grid, [Column(heights, tuple(x * f for f in flat), tuple(skin * f for f in flat), wide, deep)])
            if covered is not None:
                part = self.value[covered.box]
                np.maximum(part, covered.share * np.float32(0.95), out=part)

    def paint_lungs(self) -> None:
        """Paint both lungs between rib cage and diaphragm."""
        a = self.shape.anatomy
        for side in SIDES:
            edges = sorted((sign(side) * -10.0, sign(side) * 134.0))
            base = self.shape.dome[side] - 95
            box = self.grid.box((edges[0], -a.lung_depth - 4, base), (edges[1], a.lung_depth + 1, a.apex + 1))
            if box is None:
                continue
            self.lung_box[side] = box
            x, y, z = self.grid.at(box)
            level = self.shape.pleural_level(side, x, y, z)
            self.level[side] = level
            sharp = 1 / self.grid.softness
            share = level * np.float32(-36 * sharp)
            share += np.float32(36 * sharp + 0.5)
            slope = np.float32(0.85 * sharp)
            np.minimum(share, z * slope - (self.shape.dome_height(side, x, y) * slope - HALF), out=share)
            clamp(share)
            part = self.value[box]
            part += share * (np.float32(self.shape.lung_attenuation) - part)
            np.maximum(self.lung[box], share, out=self.lung[box])

    def lengths(self) -> dict[Key, Floats]:
        """Return how many samples along the last axis each part of a finding fills, `rows columns` of the grid."""
        result: dict[Key, Floats] = {}
        for key, covers in self.parts.items():
            total = np.zeros(self.grid.shape[:2], dtype=np.float32)
            for box, share in covers:
                np.maximum(total[box[:2]], share @ np.ones(share.shape[-1], dtype=np.float32), out=total[box[:2]])
            result[key] = total
        return result

    def masks(self) -> dict[Key, NDArray[np.bool_]]:
        """Return the samples that each part of a finding fills by at least half."""
        result: dict[Key, NDArray[np.bool_]] = {}
        for key, covers in self.parts.items():
            mask = np.zeros(self.grid.shape, dtype=bool)
            for box, share in covers:
                mask[box] |= share >= 0.5
            result[key] = mask
        return result
