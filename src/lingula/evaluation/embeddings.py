"""Image embeddings of a store's rows, computed once per encoder and store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lingula.core.files import sha256_of
from lingula.data.store_table import StoreTable
from lingula.evaluation.arrays import EncodedFeatures, EncodedLatents
from lingula.evaluation.encoder import Encoder, embed_block
from lingula.evaluation.row_cache import RowCache, blocks


@dataclass(frozen=True)
class ImageEmbeddings:
    """Embeddings of some rows of a store.

    Args:
        features: `rows features`, before projection.
        latents: `rows latent`, L2-normalised; no columns for a model without text.
        rows: Row numbers in the store, ascending.
    """

    features: EncodedFeatures
    latents: EncodedLatents
    rows: np.ndarray

    def at(self, rows: np.ndarray) -> ImageEmbeddings:
        """Return the embeddings of some of these rows, in the order asked for."""
        places = np.searchsorted(self.rows, rows)
        if len(self.rows) == 0 or (self.rows[np.minimum(places, len(self.rows) - 1)] != rows).any():
            raise KeyError("rows that were not embedded")
        return ImageEmbeddings(self.features[places], self.latents[places], np.asarray(rows))


def embed(encoder: Encoder, store: StoreTable, rows: np.ndarray, cache: Path | None = None) -> ImageEmbeddings:
    """Embed rows of a store, reading what is already on disk.

    The cache is keyed by the fingerprints of the encoder and the store: a changed model never reads stale numbers. An
    interrupted run continues where it stopped.

    Args:
        encoder: The model.
        store: The images.
        rows: Row numbers; duplicates count once.
        cache: Folder of the cache; None: nothing is kept.
    """
    rows, label = np.unique(rows), f"embedding images with {encoder.name}"
    if cache is None:
        parts = [embed_block(encoder, store, block) for block in blocks(rows, label)]
        features, latents = (np.concatenate([part[i] for part in parts]).astype(np.float32) for i in range(2))
        return ImageEmbeddings(features, latents, rows)
    kept = RowCache(folder_of(cache, "embeddings", encoder, store), ("features", "latents"), len(store))
    features, latents = kept.with_rows(rows, lambda block: embed_block(encoder, store, block), label)
    return ImageEmbeddings(features[rows], latents[rows], rows)


def folder_of(cache: Path, what: str, encoder: Encoder, store: StoreTable) -> Path:
    """Return where a kind of what an encoder makes of a store is kept."""
    return cache / what / sha256_of(encoder.fingerprint, store.fingerprint)[:16]
