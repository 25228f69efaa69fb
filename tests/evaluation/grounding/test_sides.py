from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.evaluation.grounding import sides
from lingula.evaluation.grounding.sides import BOTH, MIRRORED, ORIGINAL, SWAPPED, middle_of, side_numbers, side_of, swap_sides


def test_examples_of_the_docstrings() -> None:
    assert doctest.testmod(sides).failed == 0


@pytest.mark.parametrize(
    ("phrase", "side"),
    [
        ("a left-sided effusion", "left"),
        ("RIGHT upper lobe", "right"),
        ("bilateral effusions", None),
        ("a bright leftover", None),
        ("left more than right", None),
    ],
)
def test_sides_are_words(phrase: str, side: str | None) -> None:
    assert side_of(phrase) == side


@given(st.text("leftrighLRTGHIF -,", max_size=30))
@settings(max_examples=100, deadline=None)
def test_swapping_twice_changes_nothing_but_odd_capitals(text: str) -> None:
    assert swap_sides(swap_sides(text)).lower() == text.lower()
    named = side_of(text)
    assert (side_of(swap_sides(text)) != named) == (named is not None)


def test_the_middle_is_that_of_what_exceeds_the_mean() -> None:
    heat = np.full((4, 8), 5.0)
    heat[:, 1] = 9.0
    assert middle_of(heat) == pytest.approx(1.5 / 8 - 0.5)
    assert middle_of(heat[:, ::-1]) == pytest.approx(-middle_of(heat))
    assert middle_of(heat - 100) == pytest.approx(middle_of(heat))
    assert np.isnan(middle_of(np.full((4, 4), 0.7)))
    assert np.isnan(middle_of(np.zeros((4, 4))))


def test_expected_sides_of_the_four_measurements() -> None:
    directions, original = np.array([-1.0, -1.0, 1.0]), np.array([-0.2, 0.1, np.nan])
    first = side_numbers(ORIGINAL, directions, original, original)
    assert first.right.tolist() == [1, 0, 0.5]
    assert first.shift is None
    for variant in (SWAPPED, MIRRORED, BOTH):
        turned = side_numbers(variant, directions, np.array([0.3, 0.1, -0.2]), original)
        assert turned.right.tolist() == [1, 1, 1]
        assert turned.shift == pytest.approx([0.5, 0.0, 0.2])
