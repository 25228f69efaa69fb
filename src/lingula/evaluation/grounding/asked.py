"""A split's queries with their maps in every setting, and the numbers of these maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from lingula.data.store import Store
from lingula.evaluation.arrays import Array, HeatMap, Latent, MeanCells, PerQuery
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import GroundingEncoder
from lingula.evaluation.grounding.heat_maps import place_grids, smooth_grids
from lingula.evaluation.grounding.measures import RankedMap
from lingula.evaluation.grounding.model_maps import model_maps
from lingula.evaluation.grounding.priors import Priors, random_grid
from lingula.evaluation.grounding.queries import Query, truth_of
from lingula.evaluation.grounding.thresholds import Choice

PHRASE, CENTRED, ATTENTION = "phrase", "phrase, centred", "attention"
CENTRE, FINDING, RANDOM = "centre prior", "finding prior", "random"
"""Settings: the model's map of the phrase, the same less its mean over training images, its attention, and three maps that know
no image."""

POINTING, IOU, DICE, CNR, AUROC, AREA = "pointing", "IoU", "Dice", "CNR", "AUROC", "area"
"""Numbers of a map; the area is the region's share of the image, which is what a blind pointer hits."""

MapOf = Callable[[int], HeatMap]
"""The map of a query, by its number."""


@dataclass(frozen=True)
class AskedSplit:
    """The queries of one split, and their maps in each setting."""

    store: Store
    queries: list[Query]
    maps: dict[str, MapOf]

    @property
    def findings(self) -> list[str]:
        """The finding of each query."""
        return [query.finding for query in self.queries]

    def ranked(self, setting: str) -> Iterator[RankedMap]:
        """Give the ranked maps of a setting, one after the other."""
        for number, query in enumerate(self.queries):
            yield RankedMap.of(self.maps[setting](number), truth_of(self.store, query))


def ask(
    model: GroundingEncoder,
    store: Store,
    queries: list[Query],
    latents: Mapping[tuple[str, ...], Latent],
    priors: Priors,
    mean: MeanCells | None,
    config: EvaluateConfig,
) -> AskedSplit:
    """Ask the model, and lay the maps of every setting beside each other."""
    if not queries:
        return AskedSplit(store, [], {})
    words = [latents[query.texts] for query in queries]
    (found,) = model_maps(model, store, queries, [words], config.ground.smooth, mean=mean)
    place = partial(_placed, size=store.size, crop=model.crop)
    shape = (found.phrase.shape[1], found.phrase.shape[2])

    def noise(number: int) -> HeatMap:
        query = queries[number]
        grid = random_grid(shape, config.seed, str(store.column("row_id")[query.row]), query.finding, *query.texts)
        return place(smooth_grids(grid, config.ground.smooth)[0])

    phrase, attention, centred = found.phrase, found.attention, found.centred
    maps: dict[str, MapOf] = {PHRASE: lambda number: place(phrase[number])}
    if centred is not None:
        maps[CENTRED] = lambda number: place(centred[number])
    if attention is not None:
        maps[ATTENTION] = lambda number: place(attention[number])
    maps[CENTRE] = lambda number: priors.centre
    if priors.findings:
        maps[FINDING] = lambda number: priors.finding(queries[number].finding)
    return AskedSplit(store, queries, maps | {RANDOM: noise})


def _placed(grid: Array, size: int, crop: float) -> HeatMap:
    heat: HeatMap = place_grids(grid[None], size, size, crop)[0]
    return heat


def measure(maps: Iterator[RankedMap], choice: Choice | None) -> dict[str, PerQuery]:
    """Measure every map; without a threshold IoU and Dice are undefined."""
    found: dict[str, list[float]] = {name: [] for name in (POINTING, IOU, DICE, CNR, AUROC, AREA)}
    for ranked in maps:
        cut = None if choice is None else np.array([choice.threshold.on(ranked)])
        iou, dice = (np.array([np.nan]),) * 2 if cut is None else ranked.overlap(cut)
        values = (ranked.pointing(), iou[0], dice[0], ranked.contrast_to_noise(), ranked.auroc(), ranked.area)
        for name, value in zip(found, values, strict=True):
            found[name].append(float(value))
    return {name: np.array(values) for name, values in found.items()}
