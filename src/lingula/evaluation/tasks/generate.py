"""Report generation: reports about CT volumes, compared with the true ones by words and by findings, beside two baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store_table import StoreTable
from lingula.data.text.ct_labeller import label_ct_report
from lingula.data.text.ct_lexicon import CT_FINDINGS
from lingula.data.text.labeller import label_report
from lingula.data.text.lexicon import FINDINGS, NO_FINDING
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import PerQuery
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.cohort import is_phantom, select_rows
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Named
from lingula.evaluation.external_scorer import run_scorer, split_scorer, try_scorer
from lingula.evaluation.extras import need_packages
from lingula.evaluation.pictures import Picture
from lingula.evaluation.report_writing import most_frequent, nearest_reports, way_name, write_reports
from lingula.evaluation.result import ResultRow, TaskResult, number
from lingula.evaluation.tasks.common import FEW, make_result
from lingula.evaluation.text_scores import Labeller, ScoredReports, score_reports
from lingula.evaluation.volume_encoder import ReportWriter, WritingEncoder
from lingula.evaluation.volume_pictures import draw_planes

FREQUENT, NEAREST = "most frequent training report", "nearest training volume's report"


@dataclass(frozen=True)
class _Reports:
    """What is scored, and what baselines draw from."""

    rows: RowNumbers
    true: list[str]
    train: RowNumbers
    known: list[str]
    patients: list[str]


def run(encoder: Named, store: StoreTable, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Write a report about every volume with one, in every way asked for, and score it beside two baselines.

    The baselines say what a number means: the report that is most frequent in training knows nothing of the volume (its numbers
    are also the chance beside all others); the report of the training volume that is most similar for the model needs no decoder.

    Args:
        encoder: A model that writes reports (`WritingEncoder`).
        store: The volumes.
        config: The task's numbers.
        cache: Not used: reports are written anew.

    Raises:
        UserError: The model writes none, a scorer fails, or there is no report to compare with.
    """
    if not isinstance(store, VolumeStore):
        raise UserError(f"reports are written about CT volumes, and {store.path} holds others", "Give a store of CT volumes.")
    need_packages("report generation", "reports", "sacrebleu", "rouge_score")
    writer, own = _writer(encoder, store), config.generate
    for text in own.scorer:
        try_scorer(text, own.scorer_minutes)
    reports, labelling = _gather(store, config), _labeller(store, config)
    written, latents = write_reports(writer, store, reports.rows, own, config.seed)
    frequent, times = most_frequent(reports.known)
    candidates = {way_name(way, own): texts for way, texts in written.items()}
    candidates[FREQUENT] = [frequent] * len(reports.rows)
    candidates[NEAREST] = nearest_reports(writer, store, reports.train, reports.known, latents, own.batch)
    scored = {setting: _score(texts, reports, labelling, config) for setting, texts in candidates.items()}
    chance = scored[FREQUENT].measure(np.ones((1, len(reports.rows))))[0]
    rows = [row for setting, each in scored.items() for row in _rows(each, chance, config, setting)]
    notes = _notes(scored, reports, times)
    result = make_result("generate", encoder, store, config, rows, _protocol(writer, labelling, config), notes)
    tables = [pa.table(_columns(store, reports.rows, each, setting)) for setting, each in scored.items()]
    return result.with_predictions(pa.concat_tables(tables)).with_pictures(_draw(store, reports, candidates, config))


def _writer(encoder: Named, store: VolumeStore) -> ReportWriter:
    if not isinstance(encoder, WritingEncoder):
        raise UserError(f"{encoder.name} does not write reports", "Use a colipri run of --preset cr or crm.")
    writer = encoder.report_writer(store)
    if writer is None:
        problem = f"the {encoder.name} model was trained without report generation, so it does not write reports"
        raise UserError(problem, "Use a colipri run of --preset cr or crm.")
    return writer


def _gather(store: VolumeStore, config: EvaluateConfig) -> _Reports:
    sections = config.sections or None
    kept = np.intersect1d(select_rows(store, config.where), store.rows(with_text=True, sections=sections))
    rows, train = (np.intersect1d(kept, store.rows(split=split)) for split in (config.split, "train"))
    for found, what in ((rows, f"{config.split} volume to write about"), (train, "training volume for the baselines")):
        if not len(found):
            raise UserError(f"no {what} has a report in the store {store.name}", "Loosen --where, or name other --sections.")
    true, known = ([store.text(int(row), sections) for row in each] for each in (rows, train))
    patients = store.column("patient_id")
    return _Reports(rows, true, train, known, [str(patients[row]) for row in rows])


def _labeller(store: VolumeStore, config: EvaluateConfig) -> tuple[Labeller, list[str]]:
    """Return the labeller and its findings; the absence of all others is not a finding of its own."""
    which = config.generate.labeller or ("14" if is_phantom(store.name) else "18")
    if which == "14":
        return label_report, [finding for finding in FINDINGS if finding != NO_FINDING]
    return label_ct_report, list(CT_FINDINGS)


def _score(
    texts: Sequence[str], reports: _Reports, labelling: tuple[Labeller, list[str]], config: EvaluateConfig
) -> ScoredReports:
    others: dict[str, PerQuery] = {}
    for scorer in config.generate.scorer:
        others |= run_scorer(scorer, texts, reports.true, config.generate.scorer_minutes)
    return score_reports(texts, reports.true, reports.patients, *labelling, others)


def _rows(scored: ScoredReports, chance: np.ndarray, config: EvaluateConfig, setting: str) -> list[ResultRow]:
    value, low, high = bootstrap_interval(scored.measure, scored.patients, config.bootstrap, config.seed)
    return [
        ResultRow(
            metric=metric,
            label=label,
            setting=setting,
            value=number(value[place]),
            low=number(low[place]),
            high=number(high[place]),
            n=total,
            positives=positives,
            chance=number(chance[place]),
        )
        for place, ((metric, label), (total, positives)) in enumerate(zip(scored.keys, scored.counts(), strict=True))
        if metric != "clinical F1" or positives != 0
    ]


def _columns(store: VolumeStore, rows: RowNumbers, scored: ScoredReports, setting: str) -> dict[str, Any]:
    """Lay the reports out as a table: one line per setting and volume."""
    ids, names = store.column("row_id"), np.array(scored.findings, dtype=object)
    return {
        "setting": [setting] * len(rows),
        "row_id": [str(ids[row]) for row in rows],
        "patient_id": scored.patients,
        "true": scored.references,
        "generated": scored.candidates,
        "ROUGE-L": scored.rouge,
        "findings true": pa.array([names[there].tolist() for there in scored.true], pa.list_(pa.string())),
        "findings generated": pa.array([names[there].tolist() for there in scored.said], pa.list_(pa.string())),
        **dict(scored.others),
    }


def _notes(scored: dict[str, ScoredReports], reports: _Reports, times: int) -> list[str]:
    notes = [
        f"{setting}: {len(set(each.candidates))} different reports about {len(reports.rows)} volumes; "
        f"{np.mean([len(text.split()) for text in each.candidates]):.0f} words on average, "
        f"{np.mean([len(text.split()) for text in each.references]):.0f} in the true ones."
        for setting, each in scored.items()
    ]
    first = next(iter(scored.values()))
    rare = [name for name, count in zip(first.findings, first.true.sum(axis=0), strict=True) if 0 < count < FEW]
    notes.append(f"The {FREQUENT} occurs {times} times among {len(reports.known)}; its numbers stand as chance.")
    if rare:
        notes.append(f"Fewer than {FEW} true reports with it, so hardly a number: {', '.join(rare)}.")
    return notes


def _protocol(writer: ReportWriter, labelling: tuple[Labeller, list[str]], config: EvaluateConfig) -> dict[str, Any]:
    own = config.generate
    return {
        "findings": labelling[1],
        "labeller": f"rules, {'18 findings of CT-RATE' if labelling[0] is label_ct_report else '14 findings of CheXpert'}",
        "sections": list(config.sections) or "all",
        "ways": [way_name(way, own) for way in own.way],
        "ranking of a beam": f"log probability / words ** {own.length_penalty:g}" if "beam" in own.way else "",
        "longest report, tokens": min(own.max_tokens or writer.decoder.config.max_tokens, writer.decoder.config.max_tokens),
        "volumes": f"{writer.crop.config.evaluation} of each, {' x '.join(map(str, writer.crop.config.shape))} voxels"
        if writer.crop.config.evaluation == "centre"
        else "whole",
        "BLEU": "corpus, sacrebleu 13a words, lower case, not smoothed",
        "ROUGE-L": "F1, mean over reports, no stemming",
        "METEOR": "left out: no kept library has it without a download",
        "scorers": [split_scorer(text)[0] for text in own.scorer],
        "chance": FREQUENT,
    }


def _draw(store: VolumeStore, reports: _Reports, candidates: dict[str, list[str]], config: EvaluateConfig) -> list[Picture]:
    """Draw volumes, chosen by seed without a look at any model, with all their reports in the caption."""
    ids = store.column("row_id")
    chosen = np.sort(np.random.default_rng(config.seed).permutation(len(reports.rows))[: config.generate.pictures])
    pictures = []
    for place in chosen.tolist():
        row = int(reports.rows[place])
        told = {
            "true": reports.true[place],
            **{setting: texts[place] for setting, texts in candidates.items() if setting != FREQUENT},
        }
        words = " · ".join(f"{name}: {' '.join(text.split()) or '(nothing)'}" for name, text in told.items())
        pictures.append(Picture(draw_planes(store, row), f"{ids[row]}, axial, coronal, sagittal. {words}"))
    return pictures
