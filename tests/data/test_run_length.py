from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lingula.data.run_length import decode_rle

MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda shape: arrays(bool, shape))


def written(mask: np.ndarray, dialect: str) -> str:
    """Count pixel by pixel, down the columns."""
    runs: list[list[int]] = []
    height, width = mask.shape
    for place in range(height * width):
        if mask[place % height, place // height]:
            if runs and sum(runs[-1]) == place:
                runs[-1][1] += 1
            else:
                runs.append([place, 1])
    last, words = 0, []
    for start, length in runs:
        words += [start - last if dialect == "relative" else start + 1, length]
        last = start + length
    return " ".join(map(str, words)) or "-1"


@pytest.mark.parametrize("dialect", ["relative", "absolute"])
@given(mask=MASKS)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(dialect: str, mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_rle(written(mask, dialect), *mask.shape, dialect), mask)


def test_both_dialects_by_hand() -> None:
    expected = np.zeros((4, 3), bool)
    for place in (3, 4, 9):
        expected[place % 4, place // 4] = True
    np.testing.assert_array_equal(decode_rle("3 2 4 1", 4, 3, "relative"), expected)
    np.testing.assert_array_equal(decode_rle("4 2 10 1", 4, 3, "absolute"), expected)


@pytest.mark.parametrize("text", ["", " ", "-1", " -1", "-1 ", "\t-1\n"])
def test_every_way_to_say_nothing(text: str) -> None:
    for dialect in ("relative", "absolute"):
        mask = decode_rle(text, 5, 7, dialect)
        assert mask.shape == (5, 7)
        assert not mask.any()


@pytest.mark.parametrize("text", [" 1 2", "1 2 ", "1  2", "1\t2"])
def test_white_space_does_not_matter(text: str) -> None:
    assert decode_rle(text, 4, 4, "absolute").sum() == 2


@pytest.mark.parametrize(
    ("text", "dialect", "problem"),
    [
        ("1 2 3", "absolute", "3 numbers are no pairs"),
        ("1 x", "absolute", "'x' is no whole number"),
        ("-1 2", "relative", "'-1' is no whole number"),
        ("1.0 2", "relative", "no whole number"),
        ("1_0 2", "relative", "no whole number"),
        ("² 2", "relative", "no whole number"),
        ("1 0", "absolute", "a run of no pixels"),
        ("0 2", "absolute", "backwards"),
        ("5 3 2 1", "absolute", "overlap or go backwards"),
        ("2 3 4 1", "absolute", "overlap"),
        ("16 2", "absolute", "reach pixel 17 of an image of 4 × 4"),
        ("9 3 5 1", "relative", "reach pixel 18"),
        ("1 99999999999999999999", "relative", "larger than an image of 16 pixels"),
        ("1 2", "sideways", "dialect must be one of relative, absolute"),
    ],
)
def test_what_is_no_mask_is_refused(text: str, dialect: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_rle(text, 4, 4, dialect)
