"""The fits of one setting of a segmentation task, and the table of counts that they make together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from lingula.core.types import RowNumbers
from lingula.data.store_table import StoreTable
from lingula.evaluation.arrays import PerFinding
from lingula.evaluation.pictures import Picture
from lingula.evaluation.segmentation_descent import TrainedSegmenter
from lingula.evaluation.segmentation_scores import MGCA_THRESHOLD, PixelCounts, ScoredMasks
from lingula.evaluation.segmentation_truth import KnownPlaces

Fit: TypeAlias = tuple[RowNumbers, PixelCounts, PerFinding]
"""The rows that a fit is scored on, its pixels there, its thresholds."""


@dataclass
class Fits:
    """The fits of one setting, as they come."""

    fits: list[Fit] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)
    unchosen: int = 0
    pictures: list[Picture] = field(default_factory=list)

    def add(self, trained: TrainedSegmenter[Any], truth: KnownPlaces, train: RowNumbers, fit: Fit) -> None:
        """Take in one fit.

        Args:
            trained: The segmenter at its best validation.
            truth: What is known of where findings are.
            train: The rows it has learned from.
            fit: What it makes of the scored rows.
        """
        self.fits.append(fit)
        self.sizes.append(len(train))
        self.steps.append(trained.step)
        seen = truth.outlined[train].any(axis=0)
        self.unseen |= {name for name, known in zip(truth.findings, seen, strict=True) if not known}
        self.unchosen += bool(np.isnan(trained.quality))

    def notes(self, setting: str) -> list[str]:
        """Say how many fits of how many images there are, and what they lacked."""
        fits = "one fit" if len(self.fits) == 1 else f"mean of {len(self.fits)} fits"
        notes = [f"{setting}: {fits} on {span(self.sizes)} images, best validation at step {span(self.steps)}."]
        if self.unseen:
            notes.append(f"{setting}: a fit saw no image with {', '.join(sorted(self.unseen))}.")
        if self.unchosen:
            notes.append(
                f"{setting}: validation has nothing to find, so the last step was kept and thresholds are {MGCA_THRESHOLD}."
            )
        return notes


def assemble(store: StoreTable, findings: list[str], rows: RowNumbers, fits: Sequence[Fit]) -> ScoredMasks:
    """Put the pixels of several fits into one table.

    Args:
        store: Where the images are.
        findings: What is scored.
        rows: All rows that are scored, ascending.
        fits: Each on some of them.
    """
    ids, patients = store.column("row_id"), store.column("patient_id")
    truth, areas = np.full((len(rows), len(findings)), np.nan), np.zeros(len(rows))
    tables = [np.full((len(fits), *truth.shape), np.nan) for _ in range(4)]
    for unit, (scored, counts, thresholds) in enumerate(fits):
        places = np.searchsorted(rows, scored)
        truth[places], areas[places] = counts.truth, counts.area
        values = *counts.at(thresholds), *counts.at(np.full(len(findings), MGCA_THRESHOLD))
        for table, value in zip(tables, values, strict=True):
            table[unit, places] = value
    predicted, overlap, predicted_half, overlap_half = tables
    return ScoredMasks(
        row_ids=[str(ids[row]) for row in rows],
        patients=[str(patients[row]) for row in rows],
        findings=findings,
        area=int(areas[0]) if (areas == areas[0]).all() else areas,
        truth=truth,
        predicted=predicted,
        overlap=overlap,
        predicted_half=predicted_half,
        overlap_half=overlap_half,
        thresholds=np.stack([thresholds for _, _, thresholds in fits]),
    )


def span(values: Sequence[int]) -> str:
    """Write the smallest and the largest of some numbers."""
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"
