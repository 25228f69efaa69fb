"""Rows of published tables: repeated ones, ids, numbers and boxes in cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from lingula.core.errors import UserError
from lingula.data.sources.tables import Row, Table


def distinct(rows: Iterable[Row], skip: Counter[str]) -> Iterator[Row]:
    """Yield rows without those that repeat another one cell by cell; count these in `skip`."""
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        key = tuple(row.values())
        if key in seen:
            skip["row that repeats another one"] += 1
            continue
        seen.add(key)
        yield row


def by_key(rows: Iterable[Row], key: str, table: Table) -> dict[str, Row]:
    """Return the rows by their id.

    Raises:
        UserError: Two different rows have one id.
    """
    found: dict[str, Row] = {}
    for row in rows:
        if found.setdefault(row[key], row) != row:
            raise UserError(f"table {table.path} has two different rows with {key} {row[key]!r}", "Keep one of them.")
    return found


def number(cell: str) -> float | None:
    """Return a cell as a number, None where it is blank or none.

    >>> number("12.5"), number(""), number("nan")
    (12.5, None, None)
    """
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def box_of(row: Row, names: tuple[str, str, str, str], corners: bool = False) -> tuple[float, float, float, float] | None:
    """Return x1, y1, x2, y2 from four cells, None where one is blank.

    Args:
        row: A row of a table.
        names: Columns of x, y, width, height; or of the two corners.
        corners: Whether they are corners.
    """
    values = [number(row[name]) for name in names]
    if None in values:
        return None
    x, y, right, bottom = (float(value) for value in values if value is not None)
    return (x, y, right, bottom) if corners else (x, y, x + right, y + bottom)
