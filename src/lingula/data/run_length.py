"""Masks written as run lengths in a table, in the dialects of the challenges on Kaggle."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from lingula.core.types import RegionMask

RleDialect: TypeAlias = Literal["relative", "absolute"]
NO_MASK = ("", "-1")
"""Cells that say that there is nothing; the tables in use also write " -1"."""


def decode_rle(text: str, height: int, width: int, dialect: RleDialect) -> RegionMask:
    """Turn run lengths into a mask, `height width`; pixels are counted down the columns, from the left column to the right.

    - `relative` (SIIM-ACR pneumothorax): pairs of how many pixels lie between the end of the last run and this one, and how
      many it has: `3 2 4 1` is the pixels 3, 4, 9, counted from 0.
    - `absolute` (most others): pairs of the first pixel, counted from 1, and how many: `4 2 10 1` is the same.

    A cell that is empty or -1, with white space or without, is a mask with nothing in it.

    Args:
        text: The cell.
        height: Rows of the image that the runs were counted in.
        width: Columns of that image.
        dialect: How the runs are written; nothing in a cell tells reliably.

    Raises:
        ValueError: The text is not pairs of whole numbers, a run is empty, overlaps the one before or leaves the image, or there
            is no such dialect.
    """
    if dialect not in get_args(RleDialect):
        raise ValueError(f"dialect must be one of {', '.join(get_args(RleDialect))}, got {dialect!r}")
    if text.strip() in NO_MASK:
        return np.zeros((height, width), dtype=bool)
    first, length = _pairs(text, height * width)
    begin = np.cumsum(first) + np.cumsum(length) - length if dialect == "relative" else first - 1
    end = begin + length
    if (length == 0).any():
        raise ValueError("a run of no pixels")
    if begin[0] < 0 or (begin[1:] < end[:-1]).any():
        raise ValueError(f"runs overlap or go backwards, read as {dialect}")
    if end[-1] > height * width:
        raise ValueError(f"runs reach pixel {end[-1]} of an image of {height} × {width}, read as {dialect}")
    steps = np.zeros(height * width + 1, dtype=np.int8)
    np.add.at(steps, begin, 1)
    np.add.at(steps, end, -1)
    mask: RegionMask = np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(width, height).T
    return mask


def _pairs(text: str, most: int) -> tuple[np.ndarray, np.ndarray]:
    parts = text.split()
    if len(parts) % 2:
        raise ValueError(f"{len(parts)} numbers are no pairs")
    strange = [part for part in parts if not (part.isascii() and part.isdecimal())]
    if strange:
        raise ValueError(f"{strange[0][:20]!r} is no whole number")
    numbers = [int(part) for part in parts]
    if max(numbers) > most:
        raise ValueError(f"the number {max(numbers)} is larger than an image of {most} pixels")
    values = np.array(numbers, dtype=np.int64)
    return values[::2], values[1::2]
