"""What the model says about every query, on its feature grid: each image goes through it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lingula.core.progress import ProgressBar
from lingula.core.types import Pixels, RowNumbers
from lingula.data.store import Store
from lingula.evaluation.arrays import Grids, Latent, MeanCells
from lingula.evaluation.encoder import Encoder, GroundingEncoder
from lingula.evaluation.grounding.heat_maps import phrase_grids, smooth_grids
from lingula.evaluation.grounding.queries import Query
from lingula.evaluation.prompts import ensemble

BLOCK = 64
"""Images handed to the encoder at once."""


@dataclass(frozen=True)
class ModelMaps:
    """Maps of some queries on the feature grid.

    Args:
        phrase: `queries rows columns`; cosine of the phrase with every cell.
        attention: `queries rows columns`; mean over the heads, the same for every phrase of an image; None for a model
            without attention.
        centred: The phrase's maps less what the phrase makes of the mean grid, its mean map over the images of the mean (ours);
            None where no mean is given.
    """

    phrase: Grids
    attention: Grids | None
    centred: Grids | None


def encode_words(encoder: Encoder, words: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], Latent]:
    """Return the latent of each wording, an ensemble's normalised mean; every text is encoded once."""
    wordings = list(dict.fromkeys(words))
    texts = list(dict.fromkeys(text for wording in wordings for text in wording))
    latents = dict(zip(texts, encoder.encode_text(texts), strict=True))
    return {wording: ensemble([latents[text] for text in wording]) for wording in wordings}


def model_maps(
    encoder: GroundingEncoder,
    store: Store,
    queries: Sequence[Query],
    latents: Sequence[Sequence[Latent]],
    sigma: float = 0.0,
    change: Callable[[Pixels], Pixels] | None = None,
    mean: MeanCells | None = None,
) -> list[ModelMaps]:
    """Return the maps of queries for several wordings of each, from one pass over their images.

    Args:
        encoder: The model.
        store: The images.
        queries: What is asked; at least one.
        latents: For each variant, the latent of every query's words.
        sigma: Smoothing in cells.
        change: What is done to the pixels first (mirroring).
        mean: From `mean_cells`; None: there are no centred maps.

    Raises:
        ValueError: Attention and dense features lie on different grids.
    """
    places: dict[int, list[int]] = {}
    for number, query in enumerate(queries):
        places.setdefault(query.row, []).append(number)
    rows = sorted(places)
    phrases: list[dict[int, Grids]] = [{} for _ in latents]
    attended: dict[int, Grids] = {}
    with ProgressBar("maps of images", len(rows)) as bar:
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            pixels = [store.pixels(row) if change is None else change(store.pixels(row)) for row in block]
            dense, attention = encoder.dense_pixels(pixels), encoder.attention_pixels(pixels)
            if attention is not None and attention.shape[2:] != dense.shape[2:]:
                raise ValueError(f"attention lies on a grid of {attention.shape[2:]} cells, the features on {dense.shape[2:]}")
            for place, row in enumerate(block):
                for variant, own in zip(phrases, latents, strict=True):
                    grids = phrase_grids(dense[place], np.stack([own[number] for number in places[row]]))
                    variant |= dict(zip(places[row], smooth_grids(grids, sigma), strict=True))
                if attention is not None:
                    overall = smooth_grids(attention[place].mean(axis=0, keepdims=True), sigma)[0]
                    attended |= dict.fromkeys(places[row], overall)
            bar.advance(len(block))
    order = range(len(queries))
    seen = np.stack([attended[number] for number in order]) if attended else None
    found = []
    for variant, own in zip(phrases, latents, strict=True):
        maps = np.stack([variant[number] for number in order])
        less = None if mean is None else maps - smooth_grids(phrase_grids(mean, np.stack(own)), sigma)
        found.append(ModelMaps(maps, seen, less))
    return found


def mean_cells(encoder: GroundingEncoder, store: Store, rows: RowNumbers) -> MeanCells | None:
    """Return the mean feature grid of some images, place by place; None where there is no image.

    Args:
        encoder: The model.
        store: The images.
        rows: Which of them.
    """
    total: MeanCells | None = None
    for start in range(0, len(rows), BLOCK):
        block = encoder.dense_pixels([store.pixels(int(row)) for row in rows[start : start + BLOCK]])
        summed = block.sum(axis=0, dtype=np.float64)
        total = summed if total is None else total + summed
    return None if total is None else total / len(rows)


def mirrored(pixels: Pixels) -> Pixels:
    """Return an image with left and right exchanged."""
    return np.ascontiguousarray(pixels[:, ::-1])
