"""Whether left and right mean something: the phrase's side swapped, and the image mirrored.

A radiograph shows the patient's right on the image's left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from lingula.evaluation.arrays import HeatMap, PerQuery

Side: TypeAlias = Literal["left", "right"]

ORIGINAL, SWAPPED, MIRRORED, BOTH = "sides", "sides, phrase swapped", "sides, image mirrored", "sides, both"
VARIANTS = (ORIGINAL, SWAPPED, MIRRORED, BOTH)
"""Settings of the four measurements."""
_OTHER: dict[str, Side] = {"left": "right", "right": "left"}
_WORD = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_CONSTANT = 1e-6
"""A map whose range is below this share of its largest magnitude has no middle."""


def side_of(text: str) -> Side | None:
    """Return the side that a phrase names; None where it names none or both.

    >>> side_of("a right sided pacemaker"), side_of("effusions on the left and on the right"), side_of("cardiomegaly")
    ('right', None, None)
    """
    named = {word.lower() for word in _WORD.findall(text)}
    return None if len(named) != 1 else "left" if "left" in named else "right"


def swap_sides(text: str) -> str:
    """Return a phrase with left for right and right for left.

    >>> swap_sides("Right upper lobe")
    'Left upper lobe'
    """
    return _WORD.sub(_swapped, text)


def _swapped(match: re.Match[str]) -> str:
    word = match.group()
    other = _OTHER[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def direction_of(side: Side) -> float:
    """Return −1 for the patient's right, which is the image's left, and +1 for the left."""
    return -1.0 if side == "right" else 1.0


def middle_of(heat: HeatMap) -> float:
    """Return where the mass of a map lies across the image, from −½ (the image's left edge) to ½; NaN for a constant map.

    The mass is what exceeds the map's mean, so that a floor common to all pixels does not pull it to the middle.
    """
    values = heat.astype(np.float64)
    if values.max() - values.min() <= _CONSTANT * np.abs(values).max():
        return float("nan")
    mass = np.maximum(values - values.mean(), 0).sum(axis=0)
    return float(mass @ ((np.arange(len(mass)) + 0.5) / len(mass)) / mass.sum() - 0.5)


@dataclass(frozen=True)
class SideNumbers:
    """What each query with a side gives in one of the four measurements.

    Args:
        right: 1 where the map's mass lies on the expected side, 0 where on the other, ½ where it lies on neither.
        shift: How far the mass moved towards the expected side, as a share of the image's width; none for the original.
    """

    right: PerQuery
    shift: PerQuery | None


def side_numbers(variant: str, directions: PerQuery, middles: PerQuery, original: PerQuery) -> SideNumbers:
    """Compare where maps lie with where they should.

    The expected side is that of the phrase; where the phrase alone is swapped, the swapped phrase's; where the image is
    mirrored, the side on which the finding then lies, whether the phrase is swapped with it or not.

    Args:
        variant: Which measurement.
        directions: `queries`; −1 or +1, from the phrase as it is stored.
        middles: `queries`; where the maps lie.
        original: `queries`; where the original maps lie.
    """
    expected = directions if variant == ORIGINAL else -directions
    right = np.where(np.isnan(middles) | (middles == 0), 0.5, (middles * expected > 0).astype(float))
    moved = np.nan_to_num(middles) - np.nan_to_num(original)
    return SideNumbers(right, None if variant == ORIGINAL else moved * expected)
