"""What all stores share: the table of texts, labels, splits and regions, whatever the images are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lingula.core.errors import UserError, nearest
from lingula.core.files import read_json, sha256_of
from lingula.core.types import FindingMatrix, RowNumbers
from lingula.data.store_place import is_being_replaced
from lingula.data.store_schema import (
    INDEX_FILE,
    KINDS,
    PREPARE_FILE,
    QUARANTINE_FILE,
    SHARDS_FOLDER,
    STORE_FILE,
    STORE_VERSION,
    Kind,
    kind_of,
)
from lingula.data.store_summary import nothing_readable
from lingula.data.study import Split
from lingula.data.text.sections import SEPARATOR


class StoreTable(ABC):
    """One row per good image: text, labels, splits and everything else that is known of it; a subclass adds the image itself.

    Open it with `open`. A store is cheap to pickle (its path travels, not its content).

    Args:
        path: The store's folder.
        about: Content of its `store.json`.
        tables: One index per shard.
        quarantine: What could not be read, and why.
    """

    kind: ClassVar[Kind]

    def __init__(self, path: Path, about: dict[str, Any], tables: list[pa.Table], quarantine: pa.Table) -> None:
        self.path = path
        self.about = about
        self.name: str = about["name"]
        self.fingerprint: str = sha256_of(self.name, *(shard["sha256"] for shard in about["shards"]))
        self.table: pa.Table = pa.concat_tables(tables)
        self.quarantine = quarantine
        self.findings: list[str] = sorted(about["findings"])
        self._first_rows = np.cumsum([0, *(table.num_rows for table in tables)])
        self._columns: dict[str, list[Any]] = {}
        self._label_matrix: FindingMatrix | None = None

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a prepared store.

        Raises:
            UserError: The folder is missing, is not a store, holds another kind of images, was made by another version, is
                unfinished, damaged or empty.
        """
        path = Path(path)
        about = read_about(path)
        if kind_of(about["settings"]) != cls.kind:
            problem = f"store {path} holds {KINDS[kind_of(about['settings'])]}; this needs {KINDS[cls.kind]}"
            raise UserError(problem, f"Give a store of {KINDS[cls.kind]}.")
        folders = [path / SHARDS_FOLDER / shard["name"] for shard in about["shards"]]
        try:
            tables = [pq.read_table(folder / INDEX_FILE, memory_map=True) for folder in folders]
            quarantine = pa.concat_tables([pq.read_table(folder / QUARANTINE_FILE) for folder in folders])
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"store {path} is damaged ({str(error).splitlines()[0]})", "Prepare it anew with --overwrite."
            ) from None
        if not sum(table.num_rows for table in tables):
            raise nothing_readable(path, about["quarantine_reasons"])
        return cls(path, about, tables, quarantine)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).open, (self.path,)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> list[Any]:
        """Return one column as Python values (maps as dictionaries, regions as lists of dictionaries), cached.

        Raises:
            UserError: There is no such column.
        """
        if name not in self._columns:
            if name not in self.table.column_names:
                known = self.table.column_names
                raise UserError(f"a store has no column '{name}'", nearest(name, known) or f"It has {', '.join(known)}.")
            values = self.table.column(name).to_pylist()
            if pa.types.is_map(self.table.schema.field(name).type):
                values = [dict(value) for value in values]
            self._columns[name] = values
        return self._columns[name]

    def rows(
        self, split: Split | None = None, with_text: bool | None = None, sections: Sequence[str] | None = None
    ) -> RowNumbers:
        """Return the numbers of the rows that fit, ascending.

        Args:
            split: Only this split.
            with_text: Only rows with text (True) or without (False).
            sections: What counts as text; None: every section.
        """
        keep = np.ones(len(self), dtype=bool)
        if split is not None:
            keep &= np.asarray(pc.equal(self.table.column("split"), split))
        if with_text is not None:
            has_text = np.array([bool(self.text(row, sections)) for row in range(len(self))])
            keep &= has_text == with_text
        return np.flatnonzero(keep)

    def text(self, row: int, sections: Sequence[str] | None = None) -> str:
        """Return the row's text, empty where there is none; a blank line stands between two sections.

        Args:
            row: Row number.
            sections: Names of the sections to join, in this order; None: all, in reading order.
        """
        known: dict[str, str] = self.column("sections")[row]
        names = known if sections is None else sections
        return SEPARATOR.join(known[name].strip() for name in names if known.get(name, "").strip())

    def labels(self, rows: Sequence[int] | RowNumbers, findings: Sequence[str]) -> FindingMatrix:
        """Return labels, `rows findings`, float32: 1 present, 0 absent, NaN unknown or uncertain.

        Raises:
            UserError: No image of the store is labelled with one of the findings.
        """
        if self._label_matrix is None:
            self._label_matrix = _label_matrix(self.table.column("labels"), self.findings)
        columns = [self._finding_number(finding) for finding in findings]
        return self._label_matrix[np.asarray(rows, dtype=np.int64)][:, columns]

    @abstractmethod
    def summary(self) -> str:
        """Say what the store holds, in a few words."""

    @abstractmethod
    def sizes(self) -> dict[str, np.ndarray]:
        """Return the sizes of the images as they were read: what is measured, with its unit, to one number per row."""

    @abstractmethod
    def content_sha256(self, row: int) -> str:
        """Return the hash of one stored image, computed anew.

        Raises:
            UserError: Its file is damaged.
        """

    @abstractmethod
    def is_constant(self, row: int) -> bool:
        """Whether one stored image shows nothing: all of it, padding apart, has one value."""

    def _finding_number(self, finding: str) -> int:
        if finding not in self.findings:
            known = ", ".join(self.findings) or "none"
            remedy = nearest(finding, self.findings) or f"Labelled findings: {known}."
            raise UserError(f"store {self.path} has no label '{finding}'", remedy)
        return self.findings.index(finding)

    def _checked(self, row: int) -> int:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)} images")
        return int(row)

    def _shard_of(self, row: int) -> tuple[int, int]:
        """Return the number of a row's shard, and the row's number in it."""
        row = self._checked(row)
        shard = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return shard, row - int(self._first_rows[shard])

    def _shard_folder(self, shard: int) -> Path:
        return self.path / SHARDS_FOLDER / str(self.about["shards"][shard]["name"])


def read_about(path: Path) -> dict[str, Any]:
    """Read a finished store's `store.json`.

    Raises:
        UserError: The folder is missing, is no store, was made by another version, or is unfinished.
    """
    if not path.is_dir() and is_being_replaced(path):
        remedy = "Run the same `lingula data prepare` again: it finishes that."
        raise UserError(f"store {path} was being replaced when that was cut short", remedy)
    if not path.is_dir():
        raise UserError(f"no such store: {path}", "Make one with `lingula data prepare`.")
    file = path / STORE_FILE
    if not file.is_file():
        if (path / PREPARE_FILE).is_file():
            raise UserError(
                f"store {path} is unfinished", "Run the same `lingula data prepare` again: it goes on where it stopped."
            )
        raise UserError(f"{path} is not a store (it has no {STORE_FILE})", "Make one with `lingula data prepare`.")
    try:
        about: dict[str, Any] = read_json(file)
        version = about["version"]
    except (UserError, KeyError, TypeError):
        raise UserError(f"{file} is not a store's description", "Prepare the store anew with --overwrite.") from None
    if version != STORE_VERSION:
        remedy = "Prepare it anew with --overwrite." if version < STORE_VERSION else "Update lingula."
        raise UserError(f"store {path} has version {version}; this lingula reads version {STORE_VERSION}", remedy)
    return about


def _label_matrix(column: pa.ChunkedArray, findings: Sequence[str]) -> FindingMatrix:
    """Turn a column of maps into a matrix, `rows findings`."""
    matrix = np.full((len(column), len(findings)), np.nan, dtype=np.float32)
    first = 0
    numbers = pa.array(findings, type=pa.string())
    for chunk in column.chunks:
        counts = np.diff(np.asarray(chunk.offsets))
        rows = first + np.repeat(np.arange(len(chunk)), counts)
        entries = slice(int(chunk.offsets[0].as_py()), int(chunk.offsets[-1].as_py()))
        columns = pc.index_in(chunk.keys[entries], value_set=numbers).to_numpy(zero_copy_only=False)
        values = chunk.items[entries].cast(pa.float32()).to_numpy(zero_copy_only=False).copy()
        values[values < 0] = np.nan
        matrix[rows, columns.astype(np.int64)] = values
        first += len(chunk)
    return matrix
