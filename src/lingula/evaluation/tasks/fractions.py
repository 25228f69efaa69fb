"""Which labelled images a task learns from: all, or those of a share of the patients, the same ones for every encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store_table import StoreTable
from lingula.evaluation.arrays import Array
from lingula.evaluation.cohort import targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.tasks.common import Partition


def fraction_name(fraction: float) -> str:
    """Write a fraction as per cent.

    >>> fraction_name(0.01)
    '1 %'
    """
    return f"{100 * fraction:g} %"


def labelled(store: StoreTable, rows: RowNumbers, findings: list[str], config: EvaluateConfig) -> RowNumbers:
    """Return the rows with at least one known label.

    Raises:
        UserError: There are none.
    """
    known: Array = ~np.isnan(targets(store, rows, findings, config.against)).all(axis=1)
    if not known.any():
        raise UserError("no labelled image to train on", "Loosen --where, or use --folds 5 over all rows.")
    kept: RowNumbers = rows[known]
    return kept


def draw_partitions(
    store: StoreTable, part: Partition, fraction: float, config: EvaluateConfig
) -> Iterator[tuple[int, Partition]]:
    """Yield the seed of each draw, and the partition with that share of the training patients; of all there is one draw."""
    for seed in range(config.seed, config.seed + (1 if fraction == 1 else config.draws)):
        yield seed, replace(part, train=draw_patients(store, part.train, fraction, seed))


def labelled_partitions(
    store: StoreTable, part: Partition, findings: list[str], fraction: float, config: EvaluateConfig
) -> Iterator[tuple[int, Partition]]:
    """The same from the training rows with at least one known label.

    Raises:
        UserError: There are none.
    """
    return draw_partitions(store, replace(part, train=labelled(store, part.train, findings, config)), fraction, config)


def draw_patients(store: StoreTable, rows: RowNumbers, fraction: float, seed: int) -> RowNumbers:
    """Return the rows of a random share of the patients, at least one patient; it depends on patients and seed only."""
    if fraction == 1:
        return rows
    patients = store.column("patient_id")
    index = np.array([str(patients[row]) for row in rows])
    names = np.unique(index)
    count = max(1, round(fraction * len(names)))
    drawn = np.random.default_rng(seed).permutation(names)[:count]
    chosen: RowNumbers = rows[np.isin(index, drawn)]
    return chosen
