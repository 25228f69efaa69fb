"""Reports in text files: one a line, one a JSON object a line, or one a row of a CSV table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lingula.core.errors import UserError, nearest
from lingula.core.files import read_json_lines
from lingula.data.text.normalise import normalise_text

KNOWN = ("findings", "impression", "text")
"""Keys and columns that hold report text where none are named."""


def read_reports(path: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read reports as section name to normalised text, in reading order; reports without any text are left out.

    Args:
        path: `.csv` or `.jsonl`; any other file holds one report a line, as section `text`.
        columns: Columns or keys that hold text, in reading order; `findings`, `impression` and `text`, those that are there,
            where nothing is given.

    Raises:
        UserError: The file is missing, broken or not UTF-8, lacks a column, or holds no text.
    """
    if not path.is_file():
        raise UserError(f"no such text file: {path}", "Check the path.")
    try:
        reports = _read(path, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error})", "Save it as UTF-8 text.") from None
    kept = [report for report in reports if report]
    if not kept:
        known = ", ".join(columns or KNOWN)
        raise UserError(f"{path} holds no report text", f"It is looked for in {known}; name others with --columns.")
    return kept


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    kind = path.suffix.lower()
    if kind == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            _check_columns(path, rows.fieldnames or (), columns)
            return [_sections(row, columns) for row in rows]
    if kind == ".jsonl":
        entries = read_json_lines(path)
        _check_columns(path, {name for entry in entries for name in entry}, columns)
        return [_sections(entry, columns) for entry in entries]
    return [_sections({"text": line}, ()) for line in path.read_text(encoding="utf-8-sig").splitlines()]


def _check_columns(path: Path, known: Iterable[str], columns: Sequence[str]) -> None:
    names = list(known)
    for column in columns:
        if column not in names:
            raise UserError(f"{path} has no column '{column}'", nearest(column, names) or f"It has {', '.join(sorted(names))}.")


def _sections(row: Mapping[str, object], columns: Sequence[str]) -> dict[str, str]:
    named = {name: row.get(name) for name in columns or KNOWN}
    return {name: text for name, value in named.items() if isinstance(value, str) and (text := normalise_text(value))}
