"""From label cells to findings that are present, absent, uncertain or unknown."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Literal

from lingula.core.errors import UserError
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.tables import Row

LabelValue = Literal[1, 0, -1] | None

VALUES: dict[str, LabelValue] = {
    "1": 1,
    "1.0": 1,
    "true": 1,
    "yes": 1,
    "0": 0,
    "0.0": 0,
    "false": 0,
    "no": 0,
    "-1": -1,
    "-1.0": -1,
    "uncertain": -1,
    "": None,
    "nan": None,
}
_CODES = re.compile(r"[a-z][a-z0-9]*:")


class LabelReader:
    """Reads the labels of every row, once the vocabulary of each group of rows is known.

    Cells with codes of another vocabulary (`cui:C1306645;C0817096`) are no findings; what is no label is returned as text.

    Args:
        rows: All rows of the table.
        config: The column mapping; columns that the table lacks count as switched off.
        columns: Names in the table's header.
    """

    def __init__(self, rows: list[Row], config: CsvConfig, columns: list[str]) -> None:
        self._config = config
        self._listed = config.labels_column if config.labels_column in columns else None
        self._group = config.label_group_column if config.label_group_column in columns else None
        self._separator = re.compile("|".join(re.escape(text) for text in config.separators) or r"(?!)")
        self._unlabelled = {word.lower() for word in config.unlabelled}
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        totals = Counter[str]()
        for row in rows:
            names = self._names(row)
            counts[self._group_of(row)].update(names)
            totals.update(names)
        kept = {name for name, count in totals.items() if count >= config.min_label_count}
        self._vocabulary = {group: sorted(kept & set(names)) for group, names in counts.items()}

    def read(self, row: Row, line: int) -> tuple[dict[str, LabelValue], str]:
        """Return a row's labels, and as text what its cell holds beyond them.

        Args:
            row: A row of the table.
            line: Its number, for the error.

        Raises:
            UserError: A finding's own column holds something other than 1, 0, -1 or blank.
        """
        labels: dict[str, LabelValue] = {}
        left_out = ""
        if self._listed is not None:
            names = self._names(row)
            vocabulary = self._vocabulary[self._group_of(row)]
            if names and self._config.absent_label == "negative":
                labels = dict.fromkeys(vocabulary, 0)
            labels |= {name: 1 for name in names if name in vocabulary}
            cell = row[self._listed]
            left_out = cell if cell and not names else "; ".join(name for name in names if name not in vocabulary)
        for column in self._config.finding_columns:
            word = row[column].lower()
            if word not in VALUES:
                problem = f"row {line}: '{row[column]}' in column '{column}' is not 1, 0, -1 or blank"
                raise UserError(problem, "Mend the cell, or give lists of findings with --labels-column.")
            labels[column] = VALUES[word]
        return dict(sorted(labels.items())), left_out

    def _group_of(self, row: Row) -> str:
        return row[self._group] if self._group else ""

    def _names(self, row: Row) -> list[str]:
        """List the findings in a row's cell, in order, without repetition."""
        cell = row[self._listed] if self._listed else ""
        if _CODES.match(cell):
            return []
        names = (name.strip() for name in self._separator.split(cell))
        return list(dict.fromkeys(name for name in names if name and name.lower() not in self._unlabelled))
