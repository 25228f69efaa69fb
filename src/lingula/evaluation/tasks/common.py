"""What the classification tasks share: which rows are scored, how folds and subgroups are laid out, how results are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import ImageScores, PerFinding
from lingula.evaluation.cohort import choose_findings, folds_by_patient, is_phantom, select_rows, subgroups, targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Encoder, Named
from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.scored import Scored, score_rows, to_columns

FEW = 10
"""A finding with fewer positive images than this is named in the notes."""


@dataclass(frozen=True)
class Partition:
    """One way to divide the rows: learn on `train`, choose on `val`, score `test`."""

    train: RowNumbers
    val: RowNumbers
    test: RowNumbers


@dataclass(frozen=True)
class Cohort:
    """The rows that a classification task touches.

    Args:
        findings: What is scored.
        rows: Every row that is scored, ascending.
        partitions: One for the store's splits, or one per fold.
        notes: What a reader of the numbers has to know.
    """

    findings: list[str]
    rows: RowNumbers
    partitions: list[Partition]
    notes: list[str]

    @property
    def everything(self) -> RowNumbers:
        """All rows of all partitions."""
        parts = [part for p in self.partitions for part in (p.train, p.val, p.test)]
        return np.unique(np.concatenate(parts))


def gather_cohort(store: StoreTable, config: EvaluateConfig) -> Cohort:
    """Choose rows, findings and partitions.

    Raises:
        UserError: Nothing is left to score, or a finding lacks a class.
    """
    kept = select_rows(store, config.where)
    if config.folds:
        findings = choose_findings(store, kept, config)
        kept = kept[~np.isnan(targets(store, kept, findings, config.against)).all(axis=1)]
        return Cohort(findings, *divide_rows(store, kept, config))
    rows, partitions, notes = divide_rows(store, kept, config)
    return Cohort(choose_findings(store, rows, config), rows, partitions, notes)


def divide_rows(store: StoreTable, kept: RowNumbers, config: EvaluateConfig) -> tuple[RowNumbers, list[Partition], list[str]]:
    """Divide rows into folds, or by the store's splits: every row that is scored, the partitions, notes.

    Raises:
        UserError: Nothing is left to score.
    """
    if config.folds:
        return kept, _fold_partitions(store, kept, config), _fold_notes(store, kept, config)
    splits = np.array(store.column("split"))[kept]
    by_split = {name: kept[splits == name] for name in ("train", "val", "test")}
    rows = by_split[config.split]
    if not len(rows):
        problem = f"no image of the {config.split} split is left to score"
        if config.where:
            raise UserError(problem, "Loosen --where, or use --folds 5.")
        others = ", ".join(f"{len(found)} of {name}" for name, found in by_split.items() if len(found)) or "none"
        raise UserError(f"{problem} (there are {others})", "Choose another --split, or use --folds 5.")
    notes = ["Thresholds were chosen on the rows they are applied to: --split val."] if config.split == "val" else []
    return rows, [Partition(by_split["train"], by_split["val"], rows)], notes


def _fold_partitions(store: StoreTable, rows: RowNumbers, config: EvaluateConfig) -> list[Partition]:
    patients = store.column("patient_id")
    fold = folds_by_patient([patients[row] for row in rows], config.folds, config.seed)
    partitions = []
    for number in range(config.folds):
        val = (number + 1) % config.folds
        train = fold != number if config.folds == 2 else (fold != number) & (fold != val)
        partitions.append(Partition(rows[train], rows[fold == val], rows[fold == number]))
    return partitions


def _fold_notes(store: StoreTable, rows: RowNumbers, config: EvaluateConfig) -> list[str]:
    notes = [f"{config.folds} folds by patient over all splits; a metric is computed within each fold, then averaged."]
    if config.folds == 2:
        notes.append("With 2 folds the validation fold is also trained on; use at least 3 for honest thresholds.")
    seen = np.intersect1d(rows, store.rows(split="train", with_text=True))
    if len(seen):
        notes.append(f"{len(seen)} of the {len(rows)} scored images lie in train with text: pre-training may have seen them.")
    return notes


def assemble(
    store: StoreTable,
    cohort: Cohort,
    config: EvaluateConfig,
    scores: Sequence[tuple[RowNumbers, ImageScores, PerFinding]],
    temperature: float | None = None,
) -> Scored:
    """Put the scores of several fits into one table.

    Args:
        store: The store.
        cohort: The rows and findings.
        config: The task's numbers.
        scores: Per fit: the rows it scored (ascending), its scores, its thresholds.
        temperature: Turns score differences of two cosines into probabilities, where given.
    """
    ids, patients = store.column("row_id"), store.column("patient_id")
    table = np.full((len(scores), len(cohort.rows), len(cohort.findings)), np.nan)
    for unit, (rows, values, _) in enumerate(scores):
        table[unit, np.searchsorted(cohort.rows, rows)] = values
    truth = targets(store, cohort.rows, cohort.findings, config.against)
    return Scored(
        row_ids=[str(ids[row]) for row in cohort.rows],
        patients=[str(patients[row]) for row in cohort.rows],
        findings=cohort.findings,
        targets=truth.astype(np.float64),
        scores=table,
        thresholds=np.stack([thresholds for _, _, thresholds in scores]),
        probabilities=None if temperature is None else 1 / (1 + np.exp(-table / temperature)),
    )


def classification_result(
    task: str,
    encoder: Encoder,
    store: StoreTable,
    config: EvaluateConfig,
    cohort: Cohort,
    settings: Mapping[str, Scored],
    protocol: dict[str, Any],
    notes: Sequence[str] = (),
) -> TaskResult:
    """Score every setting and its subgroups, and pack the result with its predictions."""
    rows: list[ResultRow] = []
    for setting, scored in settings.items():
        rows += score_rows(scored, config.bootstrap, config.seed, setting)
        for name, places in subgroups(store, cohort.rows).items():
            rows += score_rows(scored.take(places), config.bootstrap, config.seed, setting, name, metrics=("AUROC",))
    tables = [pa.table(to_columns(scored, setting)) for setting, scored in settings.items()]
    protocol = {"findings": cohort.findings, "against": config.against, "folds": config.folds} | protocol
    if any(np.isnan(scored.thresholds).any() for scored in settings.values()):
        said = "hence no F1, MCC, sensitivity, specificity, balanced accuracy"
        notes = [*notes, f"Where validation lacks a class there is no threshold, {said}."]
    positives = next(iter(settings.values())).counts()[1]
    rare = [finding for finding, count in zip(cohort.findings, positives, strict=True) if count < FEW]
    if rare:
        notes = [*notes, f"Fewer than {FEW} positive images, so hardly a number: {', '.join(rare)}."]
    result = make_result(task, encoder, store, config, rows, protocol, [*cohort.notes, *notes])
    return result.with_predictions(pa.concat_tables(tables))


def make_result(
    task: str,
    encoder: Named,
    store: StoreTable,
    config: EvaluateConfig,
    rows: list[ResultRow],
    protocol: dict[str, Any],
    notes: Sequence[str],
) -> TaskResult:
    """Pack numbers with the protocol that every task has in common."""
    common = {"options": config.options(task), "where": list(config.where), "bootstrap": config.bootstrap, "seed": config.seed}
    if isinstance(store, VolumeStore):
        common["volumes"] = getattr(encoder, "seen", None)
    return TaskResult(
        task=task,
        encoder=encoder.name,
        encoder_fingerprint=encoder.fingerprint,
        store=store.name,
        store_fingerprint=store.fingerprint,
        split=f"{config.folds} folds" if config.folds and task != "retrieve" else config.split,
        phantom=is_phantom(store.name),
        rows=rows,
        notes=list(notes),
        protocol=common | protocol,
    )
