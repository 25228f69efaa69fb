"""Zero-shot classification: an image is compared with what its finding's presence and absence are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from lingula.core.types import FindingMatrix
from lingula.data.store import Store
from lingula.evaluation.arrays import EncodedLatents, FindingLatents, ImageScores
from lingula.evaluation.cohort import is_phantom, targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import embed
from lingula.evaluation.encoder import Encoder, need_text
from lingula.evaluation.metrics import auroc, nanmean
from lingula.evaluation.prompts import choose_prompts, encode_prompts, phantom_prompts
from lingula.evaluation.result import TaskResult, number
from lingula.evaluation.scored import thresholds_of
from lingula.evaluation.tasks.common import assemble, classification_result, gather_cohort

Scoring: TypeAlias = Literal["difference", "positive", "unmixed"]
SCORINGS: tuple[Scoring, ...] = ("difference", "positive", "unmixed")
RIDGE = 0.2
"""Weight of the ridge in unmixing, relative to the mean squared length of the centred prompts."""


def prompt_scores(
    latents: EncodedLatents, positive: FindingLatents, negative: FindingLatents, scoring: Scoring = "difference"
) -> ImageScores:
    """Return how much of each finding an image shows.

    `difference`: cos(image, positive) − cos(image, negative). `positive`: cos(image, positive). `unmixed`: the image as a sum of
    findings, the ridge coefficients argmin_a ‖z − Σ_f a_f c_f‖² + λ‖a‖² over prompts centred on their mean: what prompts have
    in common counts for none of them, and a finding does not score by what its words share with another's.

    Args:
        latents: `images latent`, L2-normalised.
        positive: `findings latent`, L2-normalised.
        negative: `findings latent`, L2-normalised.
        scoring: See above; with one finding `unmixed` is `positive`.
    """
    directions = positive - negative if scoring == "difference" else positive
    if scoring == "unmixed" and len(positive) > 1:
        directions = unmixing(positive)
    result: ImageScores = latents @ directions.T
    return result


def unmixing(prompts: FindingLatents) -> FindingLatents:
    """Return the directions whose products with a latent are its ridge coefficients over the centred prompts."""
    centred = prompts - prompts.mean(axis=0)
    gram = centred @ centred.T
    ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    directions: FindingLatents = np.linalg.solve(gram + ridge, centred)
    return directions


def choose_scoring(
    latents: EncodedLatents, positive: FindingLatents, negative: FindingLatents, known: FindingMatrix
) -> tuple[Scoring, dict[str, float]]:
    """Return the scoring with the best macro AUROC on validation rows (a tie: the first), and all numbers.

    Negations are what text encoders understand last: where they are mistaken for the finding, the difference cancels it.

    Args:
        latents: `rows latent`, of validation images.
        positive: `findings latent`.
        negative: `findings latent`.
        known: `rows findings`; 1 present, 0 absent, NaN unknown.
    """
    measured: dict[str, float] = {}
    for scoring in SCORINGS:
        scores = prompt_scores(latents, positive, negative, scoring)
        measured[scoring] = float(nanmean(np.array([auroc(scores[:, j], known[:, j]) for j in range(known.shape[1])]), 0))
    best = max(SCORINGS, key=lambda scoring: measured[scoring])
    return best, measured


def run(encoder: Encoder, store: Store, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Score every image against every finding's prompts.

    The softmax probability of a difference is sigmoid(score / temperature); a positive prompt alone has none. Scoring and
    thresholds come from validation rows, or from all the other folds.

    Args:
        encoder: A model with a text tower.
        store: The images.
        config: The task's numbers.
        cache: Folder of the embedding cache.

    Raises:
        UserError: The model has no text tower, a prompt file is malformed, or nothing is left to score.
    """
    cohort = gather_cohort(store, config)
    own = phantom_prompts() if is_phantom(store.name) else None
    prompts = choose_prompts(cohort.findings, store.findings, config.prompts, own)
    calibration = [np.setdiff1d(cohort.rows, part.test) if config.folds else part.val for part in cohort.partitions]
    images = embed(encoder, store, np.union1d(cohort.rows, np.concatenate(calibration)), cache)
    need_text(images.latents, encoder, "zero-shot")
    positive, negative = encode_prompts(encoder, prompts)
    fits, chosen = [], list[dict[str, Any]]()
    for part, val in zip(cohort.partitions, calibration, strict=True):
        known = targets(store, val, cohort.findings, config.against)
        scoring, measured = choose_scoring(images.at(val).latents, positive, negative, known)
        if config.scoring != "validation":
            scoring = config.scoring
        chosen.append({"scoring": scoring, "validation macro AUROC": {name: number(value) for name, value in measured.items()}})
        of_test, of_val = (prompt_scores(images.at(rows).latents, positive, negative, scoring) for rows in (part.test, val))
        fits.append((part.test, of_test, thresholds_of(of_val, known, config.threshold)))
    protocol = {
        "scoring": chosen,
        "temperature": config.temperature,
        "threshold": f"max {config.threshold.upper()} on validation",
        "prompts": {finding: prompt.model_dump(mode="json") for finding, prompt in prompts.items()},
        "prompt source": str(config.prompts) if config.prompts else ("phantom, held-out phrasings" if own else "templates"),
    }
    differences = all(choice["scoring"] == "difference" for choice in chosen)
    scored = assemble(store, cohort, config, fits, config.temperature if differences else None)
    return classification_result("zero-shot", encoder, store, config, cohort, {"": scored}, protocol)
