"""What is embedded in bulk: the rows of a store, or the image files of a folder, cut into parts that travel to workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from lingula.core.errors import UserError
from lingula.core.files import sha256_of
from lingula.core.types import Pixels
from lingula.data.open_store import open_store
from lingula.data.readers import UnreadableImage, read_radiograph
from lingula.data.reading import Reading
from lingula.data.store_table import StoreTable
from lingula.data.study import Split
from lingula.evaluation.arrays import EncodedFeatures, EncodedLatents
from lingula.evaluation.encoder import Encoder, RadiographModel, embed_block

BLOCK = 128
"""Images handed to the encoder at once."""
VECTORS = ("features", "latent", "text_latent")
"""Columns that hold vectors; the others hold text."""
Columns = dict[str, list[object]]


@runtime_checkable
class ReadingEncoder(RadiographModel, Protocol):
    """An encoder of radiographs that knows how its store read image files."""

    reading: Reading


class Part(Protocol):
    """Some of the items, small enough to travel."""

    def columns(self, encoder: Encoder) -> Columns:
        """Return one row per item: `features` (before projection), `latent` (L2-normalised), and what names the item."""
        ...


class Items(Protocol):
    """Everything that is to be embedded, in order.

    Args:
        about: What determines the items, as plain text.
    """

    about: dict[str, str]

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Part:
        """Return some of them."""
        ...


class StoreItems:
    """Rows of a store: row_id, study_id, patient_id, split, and `text_latent` of their reports beside the image's vectors.

    Latents are null where the model has no text tower; `text_latent` also where the study has no text.

    Args:
        store: The images.
        split: Only the rows of this split; all of them where nothing is given.
    """

    def __init__(self, store: StoreTable, split: Split | None = None) -> None:
        self._store, self._rows = store, store.rows(split=split)
        self.about = {"store_fingerprint": store.fingerprint, "split": split or "all"}

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, start: int, stop: int) -> Part:
        """Return some of the rows."""
        return _StoreRows(self._store.path.absolute(), self._store.fingerprint, tuple(map(int, self._rows[start:stop])))


@dataclass(frozen=True)
class _StoreRows:
    path: Path
    fingerprint: str
    rows: tuple[int, ...]

    def columns(self, encoder: Encoder) -> Columns:
        store = _opened(self.path, self.fingerprint)
        named: Columns = {
            name: [store.column(name)[row] for row in self.rows] for name in ("row_id", "study_id", "patient_id", "split")
        }
        vectors = _columns(
            [embed_block(encoder, store, np.array(self.rows[start : start + BLOCK])) for start in range(0, len(self.rows), BLOCK)]
        )
        texts = [store.text(row) if latent is not None else "" for row, latent in zip(self.rows, vectors["latent"], strict=True)]
        return {**named, **vectors, "text_latent": _text_latents(encoder, texts)}


@lru_cache(maxsize=1)
def _opened(path: Path, fingerprint: str) -> StoreTable:
    store: StoreTable = open_store(path)
    if store.fingerprint != fingerprint:
        raise UserError(f"a worker sees another store at {path}", "It must lie on a disk that all machines share.")
    return store


class FileItems:
    """Files of a folder, read as the encoder's store read its own: path below the folder, and `problem`.

    `problem` says why a file could not be read; its vectors are null then.

    Args:
        root: The folder; every file below it is tried.

    Raises:
        UserError: There is no such folder, or no file in it.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f"no such folder of images: {root}", "Check the path given to --images.")
        self._root = root.absolute()
        self._paths = sorted(str(path.relative_to(self._root)) for path in self._root.rglob("*") if path.is_file())
        if not self._paths:
            raise UserError(f"no file is in {root}", "Check the path given to --images.")
        self.about = {"files_sha256": sha256_of(str(self._root), *self._paths)}

    def __len__(self) -> int:
        return len(self._paths)

    def part(self, start: int, stop: int) -> Part:
        """Return some of the files."""
        return _Files(self._root, tuple(self._paths[start:stop]))


@dataclass(frozen=True)
class _Files:
    root: Path
    paths: tuple[str, ...]

    def columns(self, encoder: Encoder) -> Columns:
        if not isinstance(encoder, ReadingEncoder):
            raise UserError("files of CT volumes are embedded from a store", "Make one with `lingula data prepare nifti`.")
        squares: list[Pixels] = []
        problems: list[str | None] = []
        for path in self.paths:
            try:
                squares.append(encoder.reading.square(read_radiograph(self.root / path)))
                problems.append(None)
            except UnreadableImage as error:
                problems.append(error.reason)
        good = np.flatnonzero([problem is None for problem in problems])
        columns: Columns = {"path": [*self.paths], "problem": [*problems]}
        blocks = [encoder.embed_pixels(squares[start : start + BLOCK]) for start in range(0, len(squares), BLOCK)]
        for name, vectors in _columns(blocks).items():
            columns[name] = [None] * len(self.paths)
            for place, vector in zip(good, vectors, strict=True):
                columns[name][place] = vector
        return columns


def _columns(blocks: Iterable[tuple[EncodedFeatures, EncodedLatents]]) -> Columns:
    """Put embedded blocks together; latents are null for a model without text."""
    columns: Columns = {"features": [], "latent": []}
    for features, latents in blocks:
        columns["features"] += list(features)
        columns["latent"] += list(latents) if latents.shape[1] else [None] * len(latents)
    return columns


def _text_latents(encoder: Encoder, texts: list[str]) -> list[object]:
    distinct = sorted({text for text in texts if text})
    latents = [encoder.encode_text(distinct[start : start + BLOCK]) for start in range(0, len(distinct), BLOCK)]
    place = dict(zip(distinct, (vector for block in latents for vector in block), strict=True))
    return [place.get(text) for text in texts]
