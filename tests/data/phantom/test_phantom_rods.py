"""Rods and balls against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.data.phantom.grid import Beam
from lingula.data.phantom.rods import balls, project, rods

FAR = 1e6  # a source so far away that rays are parallel


def parallel_beam(size: int, pitch: float) -> Beam:
    steps = (np.arange(size) - (size - 1) / 2) * pitch
    return Beam((0.0, -FAR, 0.0), 1, 0, 0.0, -steps, -steps)


def test_ball_projects_to_its_chords() -> None:
    beam = parallel_beam(41, 1.0)
    image = project(balls(np.zeros((1, 3)), np.full((1, 3), 12.0), 1.0), beam, None, -100.0, 1.0)
    x, z = np.meshgrid(beam.columns, beam.rows)
    chord = 2 * np.sqrt(np.maximum(144 - x**2 - z**2, 0))
    np.testing.assert_allclose(image, chord, atol=0.02)


@settings(max_examples=15, deadline=None)
@given(st.floats(-1.4, 1.4), st.floats(0, 6.28), st.floats(3, 9), st.floats(1, 3), st.floats(15, 60))
def test_rod_keeps_its_volume_from_every_side(tilt: float, turn: float, radius: float, flatness: float, length: float) -> None:
    axis = np.array([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)]) * length / 2
    group = rods(-axis[None], axis[None], radius, 1.0, height=radius * flatness)
    image = project(group, parallel_beam(201, 0.5), None, -100.0, 1.0)
    assert image.sum() / 4 == pytest.approx(np.pi * radius * radius * flatness * length, rel=0.05)


@given(st.floats(0.05, 0.6))
@settings(max_examples=20, deadline=None)
def test_thin_rod_keeps_its_attenuation_below_the_pixel_size(radius: float) -> None:
    start, end = np.array([[-30.0, 0.0, -21.0]]), np.array([[30.0, 0.0, 17.0]])
    image = project(rods(start, end, radius, 1.0), parallel_beam(25, 4.0), None, -100.0, 1.0)
    volume = np.pi * radius**2 * np.linalg.norm(end - start)
    assert 16 * image.sum() == pytest.approx(volume, rel=0.15)


def test_magnification_follows_the_cone() -> None:
    steps = np.linspace(-60, 60, 241)
    beam = Beam((0.0, -900.0, 0.0), 1, 0, 100.0, -steps, -steps)
    image = project(balls(np.array([[0.0, -100.0, 0.0]]), np.full((1, 3), 20.0), 1.0), beam, None, -200.0, 1.0)
    wide = np.count_nonzero(image[120] > 0) * 0.5
    assert wide == pytest.approx(40 * 1000 / 800, abs=1.0)


def test_rod_replaces_what_it_lies_in() -> None:
    beam = parallel_beam(9, 4.0)
    tissue = np.full((9, 9, 50), 0.25, dtype=np.float32)
    image = project(balls(np.zeros((1, 3)), np.full((1, 3), 10.0), 1.25), beam, tissue, -100.0, 4.0)
    assert image[4, 4] == pytest.approx(20 * (1.25 - 0.25), rel=0.01)
    air = np.zeros_like(tissue)
    vessel = rods(np.array([[-20.0, 0, 0]]), np.array([[20.0, 0, 0]]), 3.0, 1.05, aerated=True)
    assert not project(vessel, beam, air, -100.0, 4.0).any()
