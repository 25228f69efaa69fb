"""Zero-shot classification: an image is compared with what its finding's presence and absence are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from lingula.core.types import FindingMatrix, RowNumbers
from lingula.data.store_table import StoreTable
from lingula.evaluation.arrays import EncodedLatents, FindingLatents, ImageScores, PerFinding
from lingula.evaluation.cohort import is_phantom, targets
from lingula.evaluation.config import DenseScores, EvaluateConfig, PromptStyle
from lingula.evaluation.dense_scores import dense_scores
from lingula.evaluation.embeddings import ImageEmbeddings, embed
from lingula.evaluation.encoder import Encoder, need_grounding, need_text, radiographs
from lingula.evaluation.metrics import auroc, nanmean
from lingula.evaluation.prompts import REPORT, Prompts, encode_prompts, in_report_style, prompts_about
from lingula.evaluation.result import TaskResult, number
from lingula.evaluation.scored import Scored, thresholds_of
from lingula.evaluation.tasks.common import Cohort, assemble, classification_result, gather_cohort

Scoring: TypeAlias = Literal["difference", "positive", "unmixed"]
SCORINGS: tuple[Scoring, ...] = ("difference", "positive", "unmixed")
ScoreOf: TypeAlias = Callable[[RowNumbers, Scoring], ImageScores]
"""Scores of some rows, `rows findings`."""
POOLED = ""
"""Setting of the pooled image asked for in short; the others are called as the options are."""
REPORTED = "report-style prompts"
"""What is added to the settings that are asked for in this style."""
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
    result: ImageScores = latents @ score_directions(positive, negative, scoring).T
    return result


def score_directions(positive: FindingLatents, negative: FindingLatents, scoring: Scoring) -> FindingLatents:
    """Return what a latent is multiplied by to give the scores of `prompt_scores`, `findings latent`."""
    if scoring == "unmixed" and len(positive) > 1:
        return unmixing(positive)
    return positive - negative if scoring == "difference" else positive


def unmixing(prompts: FindingLatents) -> FindingLatents:
    """Return the directions whose products with a latent are its ridge coefficients over the centred prompts."""
    centred = prompts - prompts.mean(axis=0)
    gram = centred @ centred.T
    ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    directions: FindingLatents = np.linalg.solve(gram + ridge, centred)
    return directions


def choose_scoring(scores: Mapping[Scoring, ImageScores], known: FindingMatrix) -> tuple[Scoring, dict[str, float]]:
    """Return the scoring with the best macro AUROC on validation rows (a tie: the first), and all numbers.

    Negations are what text encoders understand last: where they are mistaken for the finding, the difference cancels it.

    Args:
        scores: Scoring to `rows findings`, of validation images.
        known: `rows findings`; 1 present, 0 absent, NaN unknown.
    """
    measured: dict[str, float] = {}
    for scoring in SCORINGS:
        own = [auroc(scores[scoring][:, j], known[:, j]) for j in range(known.shape[1])]
        measured[scoring] = float(nanmean(np.array(own), 0))
    best = max(SCORINGS, key=lambda scoring: measured[scoring])
    return best, measured


def run(encoder: Encoder, store: StoreTable, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Score every image against every finding's prompts.

    The softmax probability of a difference is sigmoid(score / temperature); a positive prompt alone has none. Scoring and
    thresholds come from validation rows, or from all the other folds, for each way of comparing by itself. The pooled image is
    the setting without a name; with cells, max_c s(c), mean_c s(c) or Σ_c a_c s(c) of a cell's score s is the image's score.
    Each style of prompts is a setting of its own, too.

    Args:
        encoder: A model with a text tower.
        store: The images.
        config: The task's numbers.
        cache: Folder of the embedding cache.

    Raises:
        UserError: The model has no text tower (for cells: no dense features or attention), a prompt file is malformed, or
            nothing is left to score.
    """
    cohort = gather_cohort(store, config)
    prompts = prompts_about(store, cohort.findings, config.prompts)
    styles = {style: _in_style(prompts, style) for style in config.prompt_style}
    calibration = [np.setdiff1d(cohort.rows, part.test) if config.folds else part.val for part in cohort.partitions]
    rows = np.union1d(cohort.rows, np.concatenate(calibration))
    settings: dict[str, Scored] = {}
    chosen: dict[str, list[dict[str, Any]]] = {}
    for name, score in _ways(encoder, store, config, rows, styles, cache).items():
        fits, chosen[name] = _fit(store, config, cohort, calibration, score)
        differences = all(choice["scoring"] == "difference" for choice in chosen[name])
        settings[name] = assemble(store, cohort, config, fits, config.temperature if differences else None)
    unwritten = "phantom, held-out phrasings" if is_phantom(store.name) else "templates"
    protocol = {
        "scoring": chosen[POOLED] if list(chosen) == [POOLED] else {name or "pooled": value for name, value in chosen.items()},
        "temperature": config.temperature,
        "threshold": f"max {config.threshold.upper()} on validation",
        "prompts": {finding: prompt.model_dump(mode="json") for finding, prompt in prompts.items()},
        "prompt styles": {style: "as they are" if style == "short" else REPORT for style in config.prompt_style},
        "prompt source": str(config.prompts or unwritten),
    }
    return classification_result("zero-shot", encoder, store, config, cohort, settings, protocol)


def _ways(
    encoder: Encoder,
    store: StoreTable,
    config: EvaluateConfig,
    rows: RowNumbers,
    styles: Mapping[PromptStyle, Mapping[str, Prompts]],
    cache: Path | None,
) -> dict[str, ScoreOf]:
    """Return, for each setting, what scores some of the rows; images are encoded once, whatever they are compared with."""
    kinds: list[DenseScores] = [kind for kind in config.zero_shot_scores if kind != "pooled"]
    model = need_grounding(encoder, f"zero-shot {kinds[0]}") if kinds else None
    images = embed(encoder, store, rows, cache) if "pooled" in config.zero_shot_scores else None
    if images is not None:
        need_text(images.latents, encoder, "zero-shot")
    asked = {style: encode_prompts(encoder, prompts) for style, prompts in styles.items()}
    ways: dict[str, ScoreOf] = {}
    if images is not None:
        for style, sides in asked.items():
            ways[_setting(POOLED, style)] = partial(_compared, images, sides)
    if model is not None:
        keys = [(style, scoring) for style in asked for scoring in SCORINGS]
        directions = np.concatenate([score_directions(*asked[style], scoring) for style, scoring in keys])
        for kind, scores in dense_scores(model, radiographs(store), rows, directions, kinds, encoder.name).items():
            parts = dict(zip(keys, np.split(scores, len(keys), axis=1), strict=True))
            for style in asked:
                own = {scoring: parts[style, scoring] for scoring in SCORINGS}
                ways[_setting(kind, style)] = partial(_looked_up, rows, own)
    return ways


def _in_style(prompts: Mapping[str, Prompts], style: PromptStyle) -> dict[str, Prompts]:
    return {finding: prompt if style == "short" else in_report_style(prompt) for finding, prompt in prompts.items()}


def _setting(compared: str, style: PromptStyle) -> str:
    return ", ".join(part for part in (compared, REPORTED if style == "report" else "") if part)


def _compared(
    images: ImageEmbeddings, sides: tuple[FindingLatents, FindingLatents], rows: RowNumbers, scoring: Scoring
) -> ImageScores:
    return prompt_scores(images.at(rows).latents, *sides, scoring)


def _looked_up(rows: RowNumbers, scores: Mapping[Scoring, ImageScores], chosen: RowNumbers, scoring: Scoring) -> ImageScores:
    return scores[scoring][np.searchsorted(rows, chosen)]


def _fit(
    store: StoreTable, config: EvaluateConfig, cohort: Cohort, calibration: Sequence[RowNumbers], score: ScoreOf
) -> tuple[list[tuple[RowNumbers, ImageScores, PerFinding]], list[dict[str, Any]]]:
    """Choose scoring and thresholds on validation, for each partition."""
    fits, chosen = [], list[dict[str, Any]]()
    for part, val in zip(cohort.partitions, calibration, strict=True):
        known = targets(store, val, cohort.findings, config.against)
        scoring, measured = choose_scoring({name: score(val, name) for name in SCORINGS}, known)
        if config.scoring != "validation":
            scoring = config.scoring
        chosen.append({"scoring": scoring, "validation macro AUROC": {name: number(value) for name, value in measured.items()}})
        fits.append((part.test, score(part.test, scoring), thresholds_of(score(val, scoring), known, config.threshold)))
    return fits, chosen
