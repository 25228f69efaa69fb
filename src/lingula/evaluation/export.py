"""Writing embeddings to parquet for use elsewhere, part by part, by as many workers as there are."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lingula.core.errors import UserError
from lingula.core.files import atomic_file, explained_writing, read_json, write_json
from lingula.core.lock import locked
from lingula.core.patience import patiently
from lingula.core.progress import ProgressBar
from lingula.core.task_pool import TaskPool, Workers, task_pool
from lingula.evaluation.embed_items import VECTORS, Columns, Items, Part
from lingula.evaluation.encoder import Encoder

PART = 1024
"""Rows of a part, the piece of work that is finished or not."""
ABOUT = "about.json"
"""In the folder of the parts: which encoder and items they are of."""


def write_embeddings(load: Callable[[], Encoder], items: Items, path: Path, workers: Workers | None = None) -> int:
    """Write one row per item, in order, and return how many.

    Parts are written beside the file and put together at the end: a call that was cut short goes on where it stopped.

    Args:
        load: Makes the encoder; it is pickled to every worker, which calls it once.
        items: What is embedded.
        path: Parquet file to write; its metadata names encoder and items by their fingerprints.
        workers: Who embeds; this process where nothing is given.

    Raises:
        UserError: Another call is at work on the file, the disk is full, or a worker died.
    """
    encoder = load()
    about = {"encoder": encoder.name, "encoder_fingerprint": encoder.fingerprint, **items.about}
    with explained_writing(path), locked(path, "embedding into"):
        folder = _claim_folder(path, about)
        with task_pool(workers or Workers()) as pool, ProgressBar(f"embedding with {encoder.name}", len(items)) as bar:
            parts = _write_parts(pool, pickle.dumps(load), encoder.fingerprint, items, folder, bar)
        _join(parts, path, about)
        shutil.rmtree(folder)
    return len(items)


def _claim_folder(path: Path, about: dict[str, str]) -> Path:
    """Return the folder of the parts, with those of a call that was cut short and asked for the same."""
    folder = path.absolute().with_name(f".{path.name}.parts")
    wanted = {**about, "part": PART}
    if folder.is_dir() and (not (folder / ABOUT).is_file() or read_json(folder / ABOUT) != wanted):
        shutil.rmtree(folder)
    if not folder.is_dir():
        write_json(folder / ABOUT, wanted)
    return folder


def _write_parts(pool: TaskPool, load: bytes, fingerprint: str, items: Items, folder: Path, bar: ProgressBar) -> list[Path]:
    """Write the parts that are not there yet; return all of them."""
    parts = []
    for start in range(0, len(items), PART):
        stop = min(start + PART, len(items))
        parts.append(folder / f"{start:012d}.parquet")
        if parts[-1].is_file():
            bar.advance(stop - start)
            continue
        for finished in pool.submit(stop - start, _write_part, load, fingerprint, items.part(start, stop), parts[-1]):
            bar.advance(finished)
    for finished in pool.drain():
        bar.advance(finished)
    return parts


def _write_part(load: bytes, fingerprint: str, part: Part, file: Path) -> None:
    """Embed some items into a file of their own, unless a worker that was given up has finished it.

    Raises:
        UserError: This machine does not see the folder, or the model that it finds is another one.
    """
    if not file.parent.is_dir():
        raise UserError(f"a worker does not see the folder {file.parent}", "It must lie on a disk that all machines share.")
    encoder = _encoder(load)
    if encoder.fingerprint != fingerprint:
        raise UserError("a worker has loaded another model", "The run must lie on a disk that all machines share.")
    if not file.is_file():
        patiently(lambda: _save(part.columns(encoder), file))


@lru_cache(maxsize=1)
def _encoder(load: bytes) -> Encoder:
    encoder: Encoder = pickle.loads(load)()
    return encoder


def _save(columns: Columns, file: Path) -> None:
    types = {name: pa.list_(pa.float32()) if name in VECTORS else pa.string() for name in columns}
    table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    with atomic_file(file) as temporary:
        pq.write_table(table, temporary)


def _join(parts: list[Path], path: Path, about: dict[str, str]) -> None:
    """Put the parts together in order, one in memory at a time."""
    schema = pq.read_schema(parts[0]).with_metadata(about)
    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).cast(schema))
