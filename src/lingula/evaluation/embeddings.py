"""Image embeddings of a store's rows, computed once per encoder and store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lingula.core.files import atomic_file, sha256_of
from lingula.core.progress import ProgressBar
from lingula.data.store_table import StoreTable
from lingula.evaluation.arrays import EncodedFeatures, EncodedLatents
from lingula.evaluation.encoder import Encoder, embed_block

BLOCK = 128
"""Images handed to the encoder at once."""
SAVE_EVERY = 16
"""Blocks between two records of what is done."""


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
    rows = np.unique(rows)
    if cache is None:
        parts = [embed_block(encoder, store, block) for block in blocks(rows, encoder.name)]
        features, latents = (np.concatenate([part[i] for part in parts]) for i in range(2))
        return ImageEmbeddings(features.astype(np.float32), latents.astype(np.float32), rows)
    folder = cache / "embeddings" / sha256_of(encoder.fingerprint, store.fingerprint)[:16]
    done = _read_done(folder, len(store))
    missing = rows[~done[rows]]
    if len(missing):
        _fill(encoder, store, missing, folder, done)
    features, latents = (np.load(folder / f"{name}.npy", mmap_mode="r")[rows] for name in ("features", "latents"))
    return ImageEmbeddings(features, latents, rows)


def _read_done(folder: Path, rows: int) -> np.ndarray:
    """Read which rows are on disk: none where there is no cache yet."""
    path = folder / "done.npy"
    done: np.ndarray = np.load(path) if path.is_file() else np.zeros(rows, bool)
    return done


def _fill(encoder: Encoder, store: StoreTable, missing: np.ndarray, folder: Path, done: np.ndarray) -> None:
    """Embed the missing rows into the arrays on disk; a row counts as done only after its numbers are flushed."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: list[np.memmap[tuple[int, int], np.dtype[np.float32]]] = []
    for index, block in enumerate(blocks(missing, encoder.name)):
        values = embed_block(encoder, store, block)
        if not arrays:
            fresh = not done.any()
            paths = folder / "features.npy", folder / "latents.npy"
            arrays = [_open(path, (len(store), v.shape[1]), fresh) for path, v in zip(paths, values, strict=True)]
        for array, value in zip(arrays, values, strict=True):
            array[block] = value
        done[block] = True
        if index % SAVE_EVERY == SAVE_EVERY - 1:
            _record(folder, arrays, done)
    _record(folder, arrays, done)


def _open(path: Path, shape: tuple[int, int], fresh: bool) -> np.memmap[tuple[int, int], np.dtype[np.float32]]:
    if fresh and shape[1] == 0:
        np.save(path, np.zeros(shape, np.float32))
    if shape[1] == 0:
        return np.load(path)  # type: ignore[no-any-return]
    return np.lib.format.open_memmap(path, mode="w+" if fresh else "r+", dtype=np.float32, shape=shape)


def _record(folder: Path, arrays: list[np.memmap[tuple[int, int], np.dtype[np.float32]]], done: np.ndarray) -> None:
    for array in arrays:
        if isinstance(array, np.memmap):
            array.flush()
    with atomic_file(folder / "done.npy") as temporary, temporary.open("wb") as file:
        np.save(file, done)


def blocks(rows: np.ndarray, name: str) -> Iterator[np.ndarray]:
    """Cut rows into blocks that are handed to the encoder at once, with a progress bar."""
    with ProgressBar(f"embedding images with {name}", len(rows)) as bar:
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            yield block
            bar.advance(len(block))
