"""Rods in a volume: their volumes, and the same voxels as a slow loop over rods, whatever lies over what."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lingula.data.phantom import rasterise as module
from lingula.data.phantom.grid import Grid, regular_grid
from lingula.data.phantom.rasterise import rasterise
from lingula.data.phantom.rods import FREE_AIR, Rods, balls, join, rods


def test_rasterised_volume_is_right() -> None:
    grid = regular_grid((-30, -30, -30), (30, 30, 30), 0.75)
    values = np.full(grid.shape, 0.2, dtype=np.float32)
    group = join(
        [
            rods(np.array([[-20.0, -5, 0]]), np.array([[18.0, 9, 12]]), 3.0, 2.0, height=6.0),
            balls(np.array([[0, 0, -20.0]]), np.array([[5.0, 6, 7]]), 1.0),
        ]
    )
    filled = rasterise(group, grid, values)
    length = np.linalg.norm([38, 14, 12])
    assert (values == 2).sum() * 0.75**3 == pytest.approx(np.pi * 18 * length, rel=0.04)
    assert (values == 1).sum() * 0.75**3 == pytest.approx(4 / 3 * np.pi * 210, rel=0.04)
    np.testing.assert_array_equal(filled, values != np.float32(0.2))


@pytest.mark.parametrize("most", [1, 2000, 1 << 18])
def test_voxels_are_those_of_one_rod_after_the_other(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vessels over air, air over vessels, vessels over that air again, one rod outside the volume; cut into runs of any size."""
    monkeypatch.setattr(module, "MOST_VOXELS", most)
    draw = np.random.default_rng(3)
    grid = regular_grid((-30, -30, -30), (30, 30, 30), 3.0)
    tissue = draw.choice(np.array([0.0, 0.2, 1.0], np.float32), grid.shape)

    def some(count: int, value: float, aerated: bool) -> Rods:
        start, end = draw.uniform(-35, 35, (2, count, 3))
        return rods(start, end, draw.uniform(2, 6, count), value, aerated=aerated)

    outside = rods(np.array([[90.0, 90, 90]]), np.array([[95.0, 90, 90]]), 3.0, 2.0)
    layers = [some(6, 1.05, True), some(4, 0.0, False), some(6, 1.06, True), outside, some(3, 0.01, True), some(5, 1.04, True)]
    group = join([*layers, balls(draw.uniform(-25, 25, (4, 3)), draw.uniform(4, 9, (4, 3)), 1.5)])
    expected, covered = _one_by_one(group, grid, tissue.copy())
    values = tissue.copy()
    filled = rasterise(group, grid, values)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(filled, covered)
    assert {np.float32(v) for v in (1.05, 0.0, 1.06, 0.01, 1.04, 1.5)} <= set(np.unique(values))


def _one_by_one(group: Rods, grid: Grid, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    covered = np.zeros(grid.shape, bool)
    axes, halves = group.frame()
    for rod in range(len(group)):
        offset = np.stack(
            np.broadcast_arrays(
                *(part - np.float32(c) for part, c in zip((grid.x, grid.y, grid.z), group.centre[rod], strict=True))
            )
        )
        a, b, c = np.einsum("ki,ixyz->kxyz", axes[rod] / halves[rod][:, None], offset.astype(np.float64))
        inside = a * a + b * b + c * c < 1 if group.ball[rod] else (a * a + b * b < 1) & (abs(c) <= 1.02)
        if group.aerated[rod]:
            inside &= values >= FREE_AIR
        values[inside] = group.value[rod]
        covered |= inside
    return values, covered
