"""Comma- or tab-separated tables, read whole, every problem named with its line."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from lingula.core.errors import UserError, nearest
from lingula.core.files import sha256_of_file

Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Args:
        path: The file.
        columns: Names in the header.
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


def read_table(path: Path) -> Table:
    """Read a table with a header line; `.tsv` is separated by tabs, everything else by commas.

    Raises:
        UserError: The file is missing, empty, not text, or a row has more cells than the header.
    """
    if not path.is_file():
        near = nearest(path.name, (file.name for file in path.parent.glob("*.[ct]sv"))) if path.parent.is_dir() else ""
        raise UserError(f"no such table: {path}", near or "Check the path of the table.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            columns = [name.strip() for name in next(reader, [])]
            _check_header(path, columns)
            rows = []
            for cells in reader:
                if len(cells) > len(columns):
                    problem = f"table {path}, line {reader.line_num}: {len(cells)} cells under {len(columns)} columns"
                    raise UserError(problem, "Quote cells that contain the separator.")
                if any(cells):
                    rows.append(dict(zip(columns, [cell.strip() for cell in cells] + [""] * len(columns), strict=False)))
    except UnicodeDecodeError as error:
        raise UserError(f"table {path} is not UTF-8 text ({error.reason})", "Save it as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"table {path}, line {reader.line_num}: {error}", "Mend the table.") from None
    return Table(path, columns, rows, sha256_of_file(path))


def _check_header(path: Path, columns: list[str]) -> None:
    if not any(columns):
        raise UserError(f"table {path} is empty", "It needs a header line and one row per image.")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UserError(f"table {path} has column '{twice[0]}' twice", "Rename one of them.")
