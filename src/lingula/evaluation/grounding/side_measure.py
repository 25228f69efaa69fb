"""Measures whether a model's heat-maps follow sides: each phrase as it is, swapped, on the mirrored image, and both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from lingula.data.store import Store
from lingula.evaluation.arrays import Grids, MeanCells, PerQuery
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Encoder, GroundingEncoder
from lingula.evaluation.grounding.heat_maps import place_grids
from lingula.evaluation.grounding.model_maps import encode_words, mirrored, model_maps
from lingula.evaluation.grounding.queries import Query, truth_of
from lingula.evaluation.grounding.sides import (
    BOTH,
    MIRRORED,
    ORIGINAL,
    SWAPPED,
    VARIANTS,
    direction_of,
    middle_of,
    side_numbers,
    side_of,
    swap_sides,
)
from lingula.evaluation.grounding.summary import overall_rows
from lingula.evaluation.result import ResultRow

RIGHT, SHIFT = "right side", "shift"
ENDING = ", centred"
"""What settings of centred maps end with."""


@dataclass(frozen=True)
class Sides:
    """What the side measure found.

    Args:
        rows: Its numbers.
        queries: The queries whose phrase names one side.
        middles: Setting to where each query's map lies, −½ to ½ across the image.
        agreement: Share of these phrases whose side is that of their region in the image; NaN where there are none.
    """

    rows: list[ResultRow] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    middles: dict[str, PerQuery] = field(default_factory=dict)
    agreement: float = float("nan")


def measure_sides(
    encoder: Encoder,
    model: GroundingEncoder,
    store: Store,
    queries: Sequence[Query],
    mean: MeanCells | None,
    config: EvaluateConfig,
) -> Sides:
    """Measure the queries whose words are one stored phrase that names exactly one side; nothing where there are none.

    Every measurement is made of the phrases' maps, and once more of the centred ones.

    Args:
        encoder: Encodes the phrases.
        model: The same model; says where they lie.
        store: The images.
        queries: The queries of the scored split.
        mean: Mean feature grid of training images; None: there are no centred maps.
        config: Smoothing, bootstrap, seed.
    """
    sided = [query for query in queries if query.stored and side_of(query.texts[0])]
    if not sided:
        return Sides()
    middles = _middles(encoder, model, store, sided, mean, config)
    directions = np.array([direction_of(side_of(query.texts[0]) or "left") for query in sided])
    truth = np.array([middle_of(truth_of(store, query).astype(np.float32)) for query in sided])
    agreement = float(side_numbers(ORIGINAL, directions, truth, truth).right.mean())
    patients = [str(store.column("patient_id")[query.row]) for query in sided]
    rows = []
    for ending, variant in product(("",) if mean is None else ("", ENDING), VARIANTS):
        found = side_numbers(variant, directions, middles[variant + ending], middles[ORIGINAL + ending])
        values = {RIGHT: found.right} | ({} if found.shift is None else {SHIFT: found.shift})
        rows += overall_rows(values, patients, config.bootstrap, config.seed, variant + ending, {RIGHT: 0.5, SHIFT: 0.0})
    return Sides(rows, sided, middles, agreement)


def _middles(
    encoder: Encoder,
    model: GroundingEncoder,
    store: Store,
    queries: list[Query],
    mean: MeanCells | None,
    config: EvaluateConfig,
) -> dict[str, PerQuery]:
    """Where each query's map lies across the image, for each measurement."""
    swapped = [(swap_sides(query.texts[0]),) for query in queries]
    latents = encode_words(encoder, [*(query.texts for query in queries), *swapped])
    words = [[latents[query.texts] for query in queries], [latents[each] for each in swapped]]
    sigma = config.ground.smooth
    straight = model_maps(model, store, queries, words, sigma, mean=mean)
    turned = model_maps(model, store, queries, words, sigma, mirrored, mean)
    maps: dict[str, Grids] = {}
    for name, own in zip((ORIGINAL, SWAPPED, MIRRORED, BOTH), (*straight, *turned), strict=True):
        maps |= {name: own.phrase} if own.centred is None else {name: own.phrase, name + ENDING: own.centred}
    return {
        name: np.array([middle_of(place_grids(grid[None], store.size, store.size, model.crop)[0]) for grid in grids])
        for name, grids in maps.items()
    }
