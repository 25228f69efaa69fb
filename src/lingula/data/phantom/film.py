"""From line integrals to a grey image: quanta, scatter, exposure, window and the letter on the film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lingula.core.types import Pixels
from lingula.data.phantom.grid import Floats

WATER = 0.0195
"""Linear attenuation of water at the effective energy of a chest radiograph, per mm."""
_LETTERS = {"R": ("1110", "1001", "1110", "1010", "1001"), "L": ("1000", "1000", "1000", "1000", "1111")}


@dataclass(frozen=True)
class Exposure:
    """How one film was exposed and displayed.

    Args:
        quanta: Photons per pixel without a patient.
        scatter: Scattered share of the mean transmission.
        low: Percentile shown black.
        high: Percentile shown white.
        base: How far below the low percentile black lies, as a share of the range.
        shoulder: How strongly dense parts are compressed, as film and its digital successors do.
        gamma: Exponent of the display curve.
        contrast: Steepness of the display curve's middle, 0 for none.
        shading: Change of brightness from edge to edge, down and right.
        letter: R, L or empty.
        corner: Where the letter stands, in fractions of the image (row, column).
        gain, offset: Final grey = offset + gain x grey.
    """

    quanta: float
    scatter: float
    low: float
    high: float
    base: float
    shoulder: float
    gamma: float
    contrast: float
    shading: tuple[float, float]
    letter: str
    corner: tuple[float, float]
    gain: float
    offset: float


def sample_exposure(generator: np.random.Generator, bedside: bool, lateral: bool) -> Exposure:
    """Draw an exposure; bedside films are noisier and flatter."""
    g = generator
    marked, right = g.random() < 0.6, g.random() < 0.5
    gain = g.uniform(0.82, 1.0)
    return Exposure(
        quanta=float(np.exp(g.normal(11.3 if bedside else 11.9, 0.45))),
        scatter=float(g.uniform(0.08, 0.3) if bedside else g.uniform(0.03, 0.15)),
        low=float(g.uniform(0.5, 6)),
        high=float(g.uniform(98.0, 99.9)),
        base=float(g.uniform(-0.02, 0.14)),
        shoulder=float(g.uniform(0.1, 0.5) if lateral else g.uniform(1.1, 2.0)),
        gamma=float(np.exp(g.normal(0, 0.16))),
        contrast=float(g.uniform(0, 0.7)),
        shading=(float(g.normal(0, 0.06)), float(g.normal(0, 0.06))),
        letter=("" if lateral or not marked else "R" if right else "L"),
        corner=(float(g.uniform(0.03, 0.12)), float(g.uniform(0.03, 0.12))),
        gain=float(gain),
        offset=float(g.uniform(0, 1 - gain)),
    )


def expose(integral: Floats, exposure: Exposure, generator: np.random.Generator, bit_depth: int) -> Pixels:
    """Turn line integrals into a displayed radiograph, bright is dense.

    Args:
        integral: Integral of attenuation relative to water along each ray, mm, `rows columns`.
        exposure: How the film was taken.
        generator: Source of the quantum noise.
        bit_depth: 8 or 16.
    """
    e = exposure
    passed = np.exp(integral * np.float32(-WATER))
    passed += np.float32(e.scatter * float(np.minimum(passed, 0.15).mean()))
    size = integral.shape[0]
    quanta = e.quanta * (96 / size) ** 0.6
    spread = np.float32(1 / np.sqrt(quanta)) / np.sqrt(passed)
    signal = -np.log(passed)
    signal += np.minimum(spread, 0.5) * generator.standard_normal(signal.shape, dtype=np.float32)
    every = max(1, size // 96)
    low, high = np.percentile(signal[size // 6 : size * 3 // 4 : every, size // 8 : size * 7 // 8 : every], (e.low, e.high))
    low -= e.base * (high - low)
    grey = np.clip((signal - np.float32(low)) / np.float32(max(high - low, 1e-3)), 0, 1)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    grey = (1 - np.exp(np.float32(-e.shoulder) * grey)) / np.float32(1 - np.exp(-e.shoulder))
    grey += np.float32(e.shading[0]) * ramp[:, None] + np.float32(e.shading[1]) * ramp[None, :]
    grey = np.clip(grey, 0, 1) ** np.float32(e.gamma)
    grey = (1 - np.float32(e.contrast)) * grey + np.float32(e.contrast) * grey * grey * (3 - 2 * grey)
    grey = np.float32(e.offset) + np.float32(e.gain) * grey
    if e.letter:
        _stamp(grey, e)
    limit = 2**bit_depth - 1
    pixels: Pixels = np.rint(np.clip(grey, 0, 1) * limit).astype(np.uint8 if bit_depth == 8 else np.uint16)
    return pixels


def _stamp(grey: Floats, exposure: Exposure) -> None:
    """Write the side letter: on the image's left for the patient's right."""
    size = grey.shape[0]
    dot = max(1, round(size / 90))
    letter = np.array([[int(c) for c in row] for row in _LETTERS[exposure.letter]], dtype=bool).repeat(dot, 0).repeat(dot, 1)
    row, column = (int(part * size) for part in exposure.corner)
    if exposure.letter == "L":
        column = size - column - letter.shape[1]
    grey[row : row + letter.shape[0], column : column + letter.shape[1]][letter] = 0.96
