"""Zero-shot classification: an image is compared with what its finding's presence and absence are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lingula.core.types import RowNumbers
from lingula.data.store import Store
from lingula.evaluation.arrays import EncodedLatents, FindingLatents, ImageScores
from lingula.evaluation.cohort import is_phantom, targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import embed
from lingula.evaluation.encoder import Encoder, need_text
from lingula.evaluation.prompts import choose_prompts, encode_prompts, phantom_prompts
from lingula.evaluation.result import TaskResult
from lingula.evaluation.scored import thresholds_of
from lingula.evaluation.tasks.common import assemble, classification_result, gather_cohort


def prompt_scores(
    latents: EncodedLatents,
    positive: FindingLatents,
    negative: FindingLatents,
) -> ImageScores:
    """Return cos(image, positive) − cos(image, negative); all latents are L2-normalised."""
    result: ImageScores = latents @ (positive - negative).T
    return result


def run(encoder: Encoder, store: Store, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Score every image against every finding's prompts.

    The score is the difference of two cosines; its softmax probability is sigmoid(score / temperature). Thresholds come
    from validation rows, or from all the other folds.

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

    def scores_of(rows: RowNumbers) -> ImageScores:
        return prompt_scores(images.at(rows).latents, positive, negative)

    fits = []
    for part, val in zip(cohort.partitions, calibration, strict=True):
        known = targets(store, val, cohort.findings, config.against)
        fits.append((part.test, scores_of(part.test), thresholds_of(scores_of(val), known, config.threshold)))
    protocol = {
        "temperature": config.temperature,
        "threshold": f"max {config.threshold.upper()} on validation",
        "prompts": {finding: prompt.model_dump(mode="json") for finding, prompt in prompts.items()},
        "prompt source": str(config.prompts) if config.prompts else ("phantom, held-out phrasings" if own else "templates"),
    }
    scored = assemble(store, cohort, config, fits, config.temperature)
    return classification_result("zero-shot", encoder, store, config, cohort, {"": scored}, protocol)
