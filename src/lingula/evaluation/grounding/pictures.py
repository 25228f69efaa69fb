"""A few test images with their heat-maps, and what swapping the side or mirroring the image does to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lingula.core.randomness import random_generator
from lingula.data.store import Store
from lingula.evaluation.arrays import Grids, MeanCells
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Encoder, GroundingEncoder
from lingula.evaluation.grounding.heat_maps import place_grids
from lingula.evaluation.grounding.model_maps import encode_words, mirrored, model_maps
from lingula.evaluation.grounding.queries import Query, truth_of
from lingula.evaluation.grounding.sides import side_of, swap_sides
from lingula.evaluation.overlays import TRUTH, draw_contour, draw_heatmap, draw_mask
from lingula.evaluation.overlays import Picture as Drawn
from lingula.evaluation.pictures import Picture
from lingula.evaluation.show import enlarged, enlarged_image, panel_shape, strip

SIDE = 224
"""Side of a panel, pixels."""


def ground_pictures(
    encoder: Encoder,
    model: GroundingEncoder,
    store: Store,
    queries: Sequence[Query],
    mean: MeanCells | None,
    config: EvaluateConfig,
) -> list[Picture]:
    """Draw some queries, drawn by seed, those whose phrase names a side first: the truth and the phrase's map beside each other.

    With a side there are two more panels: the map of the phrase with its side swapped, and that of the mirrored image.

    Args:
        encoder: Encodes the phrases.
        model: The same model; says where they lie.
        store: The images.
        queries: The queries of the scored split.
        mean: Mean feature grid of training images, whose map is taken off; None: maps are drawn as they are.
        config: How many, seed, smoothing.
    """
    chosen = choose_queries(queries, config.ground.pictures, config.seed)
    if not chosen:
        return []
    swapped = [tuple(swap_sides(text) for text in query.texts) for query in chosen]
    latents = encode_words(encoder, [*(query.texts for query in chosen), *swapped])
    words = [[latents[query.texts] for query in chosen], [latents[each] for each in swapped]]
    straight, other = model_maps(model, store, chosen, words, config.ground.smooth, mean=mean)
    (turned,) = model_maps(model, store, chosen, words[:1], config.ground.smooth, mirrored, mean)
    grids = [own.phrase if own.centred is None else own.centred for own in (straight, other, turned)]
    maps = zip(*grids, strict=True)
    what = "Cosine" if mean is None else "Cosine less its mean over training images,"
    return [_picture(store, query, np.stack(own), model.crop, what) for query, own in zip(chosen, maps, strict=True)]


def choose_queries(queries: Sequence[Query], count: int, seed: int) -> list[Query]:
    """Return up to `count` queries of different images, in an order drawn by seed, those with a side first."""
    order = random_generator(seed, "ground pictures").permutation(len(queries))
    mixed = sorted((queries[place] for place in order), key=lambda query: not _is_sided(query))
    chosen: dict[int, Query] = {}
    for query in mixed:
        chosen.setdefault(query.row, query)
    return list(chosen.values())[:count]


def _is_sided(query: Query) -> bool:
    return query.stored and side_of(query.texts[0]) is not None


def _picture(store: Store, query: Query, grids: Grids, crop: float, what: str) -> Picture:
    """Draw one query; all maps share one scale of colours."""
    shape = panel_shape((store.size, store.size), SIDE)
    placed = place_grids(grids, store.size, store.size, crop)
    pixels, truth = store.pixels(query.row), truth_of(store, query)
    sided = _is_sided(query)
    shown = placed if sided else placed[:1]
    limits = float(shown.min()), float(shown.max())

    def panel(turn: bool, place: int) -> Drawn:
        image = enlarged_image(mirrored(pixels) if turn else pixels, shape)
        region = enlarged((mirrored(truth) if turn else truth).astype(np.float32), shape) >= 0.5
        return draw_contour(draw_heatmap(image, enlarged(placed[place], shape), limits), region)

    marked = enlarged(truth.astype(np.float32), shape) >= 0.5
    panels = [draw_mask(enlarged_image(pixels, shape), marked, TRUTH), panel(False, 0)]
    words = f"“{query.texts[0]}”" if query.stored else f"prompts of {query.finding}"
    caption = f"{query.finding}, green: the truth; heat: {words}"
    if sided:
        panels += [panel(False, 1), panel(True, 2)]
        caption += f"; then “{swap_sides(query.texts[0])}” on the same image; then the first phrase on the mirrored image"
    return Picture(strip(panels), caption + f". {what} {limits[0]:.2f} to {limits[1]:.2f}, one scale for all.")
