"""Arrays with one entry per row of a store, kept on disk, each entry computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lingula.core.files import atomic_file
from lingula.core.progress import ProgressBar
from lingula.evaluation.arrays import Array

BLOCK = 128
"""Images handed to the encoder at once, where nothing else is asked for."""
SAVE_EVERY = 16
"""Blocks between two records of what is done."""
Compute = Callable[[np.ndarray], Sequence[Array]]


class RowCache:
    """A folder with some arrays of the same number of rows; an interrupted run continues where it stopped.

    Args:
        folder: Where they are; its name must change with whatever the entries depend on.
        names: What the arrays are called.
        total: Rows of the store.
        dtype: Number format on disk.
        block: Images handed to the encoder at once, whose entries must fit in memory; None: `BLOCK`.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], total: int, dtype: type[np.floating] = np.float32, block: int | None = None
    ) -> None:
        self.folder, self.names, self.total, self.dtype, self.block = folder, names, total, dtype, block or BLOCK

    def with_rows(self, rows: np.ndarray, compute: Compute, label: str) -> list[Array]:
        """Return the arrays as they lie on disk, after computing those of some rows that are missing.

        Args:
            rows: Row numbers.
            compute: Some rows to one block per array.
            label: What the progress bar says.
        """
        path = self.folder / "done.npy"
        done: np.ndarray = np.load(path) if path.is_file() else np.zeros(self.total, bool)
        missing = np.unique(rows[~done[rows]])
        if len(missing):
            self._fill(missing, compute, done, label)
        return [np.load(self._path(name), mmap_mode="r") for name in self.names]

    def _fill(self, missing: np.ndarray, compute: Compute, done: np.ndarray, label: str) -> None:
        """Compute rows into the arrays on disk; a row counts as done only after its numbers are flushed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arrays: list[Array] = []
        for index, block in enumerate(blocks(missing, label, self.block)):
            values = compute(block)
            if not arrays:
                fresh = not done.any()
                arrays = [self._open(name, each.shape[1:], fresh) for name, each in zip(self.names, values, strict=True)]
            for array, value in zip(arrays, values, strict=True):
                array[block] = value
            done[block] = True
            if index % SAVE_EVERY == SAVE_EVERY - 1:
                self._record(arrays, done)
        self._record(arrays, done)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _open(self, name: str, entry: tuple[int, ...], fresh: bool) -> Array:
        """Open an array for writing; one without numbers cannot be mapped and is an ordinary one."""
        shape = (self.total, *entry)
        if 0 in entry:
            if fresh:
                np.save(self._path(name), np.zeros(shape, self.dtype))
            return np.load(self._path(name))  # type: ignore[no-any-return]
        return np.lib.format.open_memmap(self._path(name), mode="w+" if fresh else "r+", dtype=self.dtype, shape=shape)

    def _record(self, arrays: Sequence[Array], done: np.ndarray) -> None:
        for array in arrays:
            if isinstance(array, np.memmap):
                array.flush()
        with atomic_file(self.folder / "done.npy") as temporary, temporary.open("wb") as file:
            np.save(file, done)


def blocks(rows: np.ndarray, label: str, size: int | None = None) -> Iterator[np.ndarray]:
    """Cut rows into blocks that are handed to the encoder at once, with a progress bar."""
    size = size or BLOCK
    with ProgressBar(label, len(rows)) as bar:
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            yield block
            bar.advance(len(block))
