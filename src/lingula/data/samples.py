"""Which images a method trains on, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from lingula.core.errors import UserError
from lingula.core.randomness import random_generator
from lingula.core.types import RowNumbers
from lingula.data.study import Split

if TYPE_CHECKING:
    from lingula.data.store_table import StoreTable

Pairing = Literal["all", "frontal", "one-per-epoch"]
_FRONTAL = {"PA", "AP"}


def paired_rows(store: StoreTable, split: Split, sections: Sequence[str] | None, pairing: Pairing) -> RowNumbers:
    """Return the rows of a split whose image meets a text with at least one letter or digit."""
    rows = store.rows(split, with_text=True, sections=sections)
    readable = [any(map(str.isalnum, store.text(int(row), sections))) for row in rows]
    rows = rows[np.asarray(readable, dtype=bool)].astype(np.int64)
    if pairing == "frontal":
        projections = store.column("projection")
        rows = rows[np.asarray([projections[row] in _FRONTAL for row in rows], dtype=bool)]
    chosen: RowNumbers = rows
    return chosen


def labelled_rows(store: StoreTable, split: Split, findings: Sequence[str]) -> RowNumbers:
    """Return the rows of a split for which at least one of the findings is known."""
    rows = store.rows(split)
    known: RowNumbers = rows[~np.isnan(store.labels(rows, findings)).all(axis=1)]
    return known


def describe_pairs(store: StoreTable, sections: Sequence[str] | None, pairs: int) -> str:
    """Say how many images have text, e.g. "318 of 1,558 images have text; 246 training pairs"."""
    with_text = len(store.rows(with_text=True, sections=sections))
    return f"{with_text:,} of {len(store):,} images have text; {pairs:,} training pairs"


class BatchOrder:
    """The order of training: a new permutation in every epoch, whole batches only.

    It depends on seed, epoch and the samples alone; its state is the number of steps consumed.

    Args:
        rows: The training samples' rows.
        studies: Study of each row; given, every study appears once per epoch, with one of its images drawn anew.
        batch_size: Samples per step over all processes.
        seed: Keys the permutations.
        what: What the samples are, for the error message.

    Raises:
        UserError: There are fewer samples than a batch needs.
    """

    def __init__(
        self, rows: RowNumbers, batch_size: int, seed: int, studies: Sequence[str] | None = None, what: str = "training pairs"
    ) -> None:
        numbers = np.arange(len(rows)) if studies is None else np.unique(np.asarray(studies), return_inverse=True)[1]
        self._rows = rows[np.argsort(numbers, kind="stable")]
        self._counts = np.bincount(numbers) if len(rows) else np.zeros(0, dtype=np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self.samples, self.batch_size, self._seed = len(self._counts), batch_size, seed
        if batch_size > self.samples:
            remedy = (
                f"Give --optimisation.batch-size {self.samples} or less."
                if self.samples > 1
                else "Prepare a store with more of them."
            )
            raise UserError(f"a batch of {batch_size} needs {batch_size} {what}; the store has {self.samples}", remedy)
        self._epoch, self._permuted = -1, self._rows

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass; the rest of a pass is left out."""
        return self.samples // self.batch_size

    def epoch(self, step: int) -> int:
        """Return the epoch that a step belongs to, from 0."""
        return step // self.steps_per_epoch

    def rows(self, step: int) -> RowNumbers:
        """Return the rows of a step's batch, over all processes."""
        if self.epoch(step) != self._epoch:
            self._epoch = self.epoch(step)
            generator = random_generator(self._seed, self._epoch, "order")
            drawn = self._starts + np.floor(generator.random(self.samples) * self._counts).astype(np.int64)
            self._permuted = self._rows[drawn[generator.permutation(self.samples)]]
        start = step % self.steps_per_epoch * self.batch_size
        return self._permuted[start : start + self.batch_size]


def fixed_batches(rows: RowNumbers, batch_size: int, most: int, seed: int) -> list[RowNumbers]:
    """Choose the batches of a validation, always the same: whole ones, or a single one where there are too few rows."""
    size = min(batch_size, len(rows))
    count = min(len(rows) // size, most) if size else 0
    order = random_generator(seed, "validation").permutation(len(rows))
    return list(rows[order[: count * size]].reshape(count, size)) if count else []
