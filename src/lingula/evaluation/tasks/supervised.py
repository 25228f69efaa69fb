"""A supervised model's own classification: the ceiling that the others are compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store import Store
from lingula.evaluation.arrays import ImageScores
from lingula.evaluation.cohort import targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import embed
from lingula.evaluation.encoder import Encoder
from lingula.evaluation.result import TaskResult
from lingula.evaluation.scored import thresholds_of
from lingula.evaluation.tasks.common import assemble, classification_result, gather_cohort


def run(encoder: Encoder, store: Store, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Score the findings that a supervised model was trained on.

    Args:
        encoder: A supervised model.
        store: The images.
        config: The task's numbers.
        cache: Folder of the embedding cache.

    Raises:
        UserError: The model is not supervised, or knows none of the findings.
    """
    cohort = gather_cohort(store, config)
    if not encoder.findings:
        raise UserError(f"{encoder.name} is not a supervised model", "Choose --task zero-shot, probe or retrieve for it.")
    shared = [finding for finding in cohort.findings if finding in encoder.findings]
    missing = [finding for finding in cohort.findings if finding not in shared]
    if not shared:
        vocabulary = ", ".join(encoder.findings)
        raise UserError(f"{encoder.name} was not trained on {', '.join(cohort.findings)}", f"It knows: {vocabulary}.")
    cohort = replace(cohort, findings=shared)
    columns = [encoder.findings.index(finding) for finding in shared]
    calibration = [np.setdiff1d(cohort.rows, part.test) if config.folds else part.val for part in cohort.partitions]
    images = embed(encoder, store, np.union1d(cohort.rows, np.concatenate(calibration)), cache)

    def scores_of(rows: RowNumbers) -> ImageScores:
        if not len(rows):
            return np.zeros((0, len(columns)))
        logits: ImageScores = encoder.classify(images.at(rows).features)[:, columns]
        return logits

    fits = []
    for part, val in zip(cohort.partitions, calibration, strict=True):
        known = targets(store, val, shared, config.against)
        fits.append((part.test, scores_of(part.test), thresholds_of(scores_of(val), known, config.threshold)))
    notes = [f"Not trained on, so left out: {', '.join(missing)}."] if missing else []
    protocol = {"threshold": f"max {config.threshold.upper()} on validation"}
    scored = assemble(store, cohort, config, fits, temperature=1.0)
    return classification_result("supervised", encoder, store, config, cohort, {"": scored}, protocol, notes)
