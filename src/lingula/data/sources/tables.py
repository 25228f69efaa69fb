"""Comma- or tab-separated tables, read whole, every problem named with its line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lingula.core.errors import UserError, nearest
from lingula.core.files import sha256_of_file
from lingula.data.sources.workbook import sheet_rows

Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Args:
        path: The file.
        columns: Names in the header, those that are kept or not.
        rows: One dictionary per row, cells stripped of white space.
        sha256: Hash of the file.
    """

    path: Path
    columns: list[str]
    rows: list[Row]
    sha256: str

    def require(self, column: str, why: str) -> str:
        """Return the column's name.

        Raises:
            UserError: The table has no such column; the nearest one is offered.
        """
        if column not in self.columns:
            remedy = nearest(column, self.columns) or f"It has {', '.join(self.columns)}."
            raise UserError(f"table {self.path} has no column '{column}' ({why})", remedy)
        return column


def read_table(path: Path, only: Collection[str] | None = None, fold: Callable[[Row], Row] | None = None) -> Table:
    """Read a table with a header line; `.tsv` is separated by tabs, everything else by commas; `.gz` is unpacked on the way.

    Of a workbook (`.xlsx`) the first sheet is read.

    Args:
        path: The file.
        only: Columns whose cells are kept, where the table has them; None: all. Columns without a name are left out.
        fold: Makes of each row what is kept of it, for tables of thousands of columns; None: it is kept as it is.

    Raises:
        UserError: The file is missing, empty, not text, or a row has more cells than the header.
    """
    if not path.is_file():
        near = nearest(path.name, (file.name for file in path.parent.glob("*.[ct]sv"))) if path.parent.is_dir() else ""
        raise UserError(f"no such table: {path}", near or "Check the path of the table.")
    try:
        lines = _lines(path)
        columns = [name.strip() for name in next(lines, (0, []))[1]]
        _check_header(path, columns)
        kept = [(place, name) for place, name in enumerate(columns) if name and (only is None or name in only)]
        rows = []
        for number, cells in lines:
            if len(cells) > len(columns):
                problem = f"table {path}, line {number}: {len(cells)} cells under {len(columns)} columns"
                raise UserError(problem, "Quote cells that contain the separator.")
            if any(cells):
                row = {name: cells[place].strip() if place < len(cells) else "" for place, name in kept}
                rows.append(fold(row) if fold else row)
    except UnicodeDecodeError as error:
        raise UserError(f"table {path} is not UTF-8 text ({error.reason})", "Save it as UTF-8.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"table {path} cannot be unpacked ({error})", "Download it again.") from None
    return Table(path, [name for name in columns if name], rows, sha256_of_file(path))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of every line, with its number."""
    if path.suffix.lower() == ".xlsx":
        yield from enumerate(sheet_rows(path), start=1)
        return
    with _open_text(path) as file:
        tabs = path.name.removesuffix(".gz").endswith(".tsv")
        reader = csv.reader(file, delimiter="\t" if tabs else ",", strict=True)
        try:
            for cells in reader:
                yield reader.line_num, cells
        except csv.Error as error:
            raise UserError(f"table {path}, line {reader.line_num}: {error}", "Mend the table.") from None


def read_text(path: Path) -> str:
    """Return what a text file holds, without a byte order mark; `.gz` is unpacked on the way.

    Raises:
        UserError: It is not UTF-8 text, or cannot be unpacked.
    """
    try:
        with _open_text(path) as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason})", "Download it again, or save it as UTF-8.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error})", "Download it again.") from None


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")


def _check_header(path: Path, columns: list[str]) -> None:
    if not any(columns):
        raise UserError(f"table {path} is empty", "It needs a header line and one row per image.")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise UserError(f"table {path} has column '{twice[0]}' twice", "Rename one of them.")
