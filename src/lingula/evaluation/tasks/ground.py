"""Grounding: a phrase becomes a heat-map, which should light up where the phrase's finding lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lingula.core.errors import UserError
from lingula.core.randomness import random_generator
from lingula.core.types import RowNumbers
from lingula.data.store import Store
from lingula.evaluation.arrays import PerQuery
from lingula.evaluation.cohort import select_rows
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Encoder, GroundingEncoder, need_grounding
from lingula.evaluation.grounding.asked import AREA, AUROC, POINTING, AskedSplit, ask, measure
from lingula.evaluation.grounding.model_maps import encode_words, mean_cells
from lingula.evaluation.grounding.pictures import ground_pictures
from lingula.evaluation.grounding.priors import Priors, learn_priors
from lingula.evaluation.grounding.queries import Queries, gather_queries, region_prompts
from lingula.evaluation.grounding.side_measure import Sides, measure_sides
from lingula.evaluation.grounding.summary import mean_rows
from lingula.evaluation.grounding.thresholds import Choice, choose_threshold
from lingula.evaluation.result import TaskResult, number
from lingula.evaluation.tasks.common import FEW, make_result
from lingula.models.known_words import words_of

TEXTS = ("setting", "row_id", "patient_id", "finding", "words")
"""Columns of the predictions that are text."""
OPPOSITE = 0.8
"""Below this agreement of phrases and regions about sides the store is said not to keep the radiological convention."""


def run(encoder: Encoder, store: Store, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Ask for every region of the split by its phrase, and measure the maps.

    Thresholds come from validation, priors from training regions, sides from the phrases of the scored split.

    Args:
        encoder: A model with dense features comparable with text.
        store: The images, with regions.
        config: Rows, findings, words, smoothing.
        cache: Not used: every image is needed once.

    Raises:
        UserError: The model or the store cannot be asked, or no region is left.
    """
    model = need_grounding(encoder, "ground")
    if config.folds:
        raise UserError("grounding has no folds", "Leave out --folds: it trains nothing on the store's images.")
    prompts = region_prompts(store, config)
    kept = select_rows(store, config.where)
    splits = np.array(store.column("split"))[kept]
    asked: dict[str, Queries] = {
        name: gather_queries(store, kept[splits == name], config, prompts) for name in sorted({"train", "val", config.split})
    }
    test, val = asked[config.split], asked["val"]
    if not test.asked:
        raise UserError(f"no region of the {config.split} split is left to find", "Loosen --where, --label or --ground.kind.")
    latents = encode_words(encoder, [query.texts for query in (*test.asked, *val.asked)])
    priors = learn_priors(store, asked["train"])
    reference = _reference_rows(kept[splits == "train"], config)
    mean = mean_cells(model, store, reference)
    scored, chosen = (ask(model, store, queries.asked, latents, priors, mean, config) for queries in (test, val))
    choices = {name: choose_threshold(partial(chosen.ranked, name), chosen.findings) for name in scored.maps}
    numbers = {name: measure(scored.ranked(name), choices[name]) for name in scored.maps}
    patients = [str(store.column("patient_id")[query.row]) for query in scored.queries]
    lines = [
        row
        for name, own in numbers.items()
        for row in mean_rows(_shown(own), scored.findings, patients, config.bootstrap, config.seed, name, _chances(own))
    ]
    sides = Sides() if config.ground.skip_sides else measure_sides(encoder, model, store, scored.queries, mean, config)
    notes = _notes(encoder, model, scored, asked, config, sides)
    protocol = _protocol(asked, scored, priors, choices, config, sides) | {"images of the mean": len(reference)}
    result = make_result("ground", encoder, store, config, lines + sides.rows, protocol, notes)
    pictures = ground_pictures(encoder, model, store, scored.queries, mean, config)
    return result.with_predictions(_table(store, scored, numbers, sides)).with_pictures(pictures)


def _reference_rows(training: RowNumbers, config: EvaluateConfig) -> RowNumbers:
    """The training images whose mean is taken off, drawn by seed."""
    order = random_generator(config.seed, "ground reference").permutation(len(training))
    return np.sort(training[order[: config.ground.reference]])


def _shown(numbers: Mapping[str, PerQuery]) -> dict[str, PerQuery]:
    """Everything measured but the area, which says nothing about a map."""
    return {name: values for name, values in numbers.items() if name != AREA}


def _chances(numbers: Mapping[str, PerQuery]) -> dict[str, PerQuery]:
    """What a pixel drawn blindly gets for each query."""
    return {POINTING: numbers[AREA], AUROC: np.full(len(numbers[AREA]), 0.5)}


def _protocol(
    asked: Mapping[str, Queries],
    scored: AskedSplit,
    priors: Priors,
    choices: Mapping[str, Choice | None],
    config: EvaluateConfig,
    sides: Sides,
) -> dict[str, Any]:
    own = [query.stored for query in scored.queries]
    thresholds = {name: None if choice is None else choice.described() for name, choice in choices.items()}
    return {
        "findings": sorted(set(scored.findings)),
        "queries": {name: len(queries.asked) for name, queries in asked.items()},
        "words": {"stored phrases": sum(own), "prompts of the finding": len(own) - sum(own)},
        "truth": "masks, and filled boxes where there is none; regions of one image with the same words are one",
        "empty regions left out": {name: queries.empty for name, queries in asked.items()},
        "threshold": "one for all phrases of a setting, the best mean IoU over findings on validation",
        "thresholds": thresholds,
        "centre prior": priors.described(),
        "finding prior": "mean training region of the finding" if priors.findings else "none: no training regions",
        "random": "uniform noise on the feature grid, enlarged and smoothed like the model's maps",
        "smoothing": f"Gaussian, {config.ground.smooth:g} cells",
        "CNR": "absolute difference of means over the root of the summed variances (BioViL): blind to the sign",
        "sides": {"queries": len(sides.queries), "phrase and region agree": number(sides.agreement)},
    }


def _notes(
    encoder: Encoder,
    model: GroundingEncoder,
    scored: AskedSplit,
    asked: Mapping[str, Queries],
    config: EvaluateConfig,
    sides: Sides,
) -> list[str]:
    """What a reader of the numbers has to know."""
    notes = []
    if config.split == "val":
        notes.append("Thresholds were chosen on the rows they are applied to: --split val.")
    if config.split == "train":
        notes.append("The priors were learned from the rows they are applied to: --split train.")
    if not asked["val"].asked:
        notes.append("Validation has no regions to choose a threshold on: no IoU and no Dice.")
    if empty := asked[config.split].empty:
        notes.append(f"{empty} regions without a pixel were left out.")
    prompted = sum(not query.stored for query in scored.queries)
    if prompted and config.ground.words == "phrase":
        notes.append(f"{prompted} of {len(scored.queries)} queries have no stored phrase: the finding's prompts ask for them.")
    strange = sorted({text for query in scored.queries for text in query.texts if not _has_known_word(model, text)})
    if strange:
        notes.append(f"{len(strange)} wordings have no word that {encoder.name} knows, e.g. '{strange[0]}'.")
    if sides.agreement < OPPOSITE:
        share = f"{100 * sides.agreement:.0f} %"
        notes.append(
            f"Phrase and region name the same side (the patient's right is the image's left) in {share} of queries only."
        )
    rare = [finding for finding, count in Counter(scored.findings).items() if count < FEW]
    if rare:
        notes.append(f"Fewer than {FEW} queries, so hardly a number: {', '.join(sorted(rare))}.")
    return notes


def _has_known_word(model: GroundingEncoder, text: str) -> bool:
    return len(model.unknown_words(text)) < len(words_of(text))


def _table(store: Store, scored: AskedSplit, numbers: Mapping[str, Mapping[str, PerQuery]], sides: Sides) -> pa.Table:
    """Lay out one line per setting and query; measurements of sides have only where the map lies across the image."""
    ids, patients = store.column("row_id"), store.column("patient_id")
    measures = list(next(iter(numbers.values())))
    blocks = [(name, scored.queries, dict(own)) for name, own in numbers.items()]
    blocks += [(name, sides.queries, {"middle": values}) for name, values in sides.middles.items()]
    lines = [(name, queries[place], own, place) for name, queries, own in blocks for place in range(len(queries))]
    columns: dict[str, Any] = {
        "setting": [name for name, _, _, _ in lines],
        "row_id": [str(ids[query.row]) for _, query, _, _ in lines],
        "patient_id": [str(patients[query.row]) for _, query, _, _ in lines],
        "finding": [query.finding for _, query, _, _ in lines],
        "words": ["; ".join(query.texts) for _, query, _, _ in lines],
    }
    for measured in (*measures, "middle"):
        columns[measured] = [float(own[measured][place]) if measured in own else None for _, _, own, place in lines]
    return pa.table(columns, schema=pa.schema([(name, pa.string() if name in TEXTS else pa.float64()) for name in columns]))
