"""One shard: the images of a few studies, read and written, as one function that any pool can map."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lingula.core.errors import UserError
from lingula.core.files import atomic_folder, read_json, sha256_of, sha256_of_file
from lingula.data.identifiers import Pseudonyms
from lingula.data.pixel_shelf import PixelShelf
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
from lingula.data.readers import UnreadableImage
from lingula.data.shelf import Record, Shelf
from lingula.data.store_schema import INDEX_FILE, QUARANTINE_FILE, QUARANTINE_SCHEMA, SHARD_FILE
from lingula.data.study import Source, Study


def shard_fingerprint(settings: Record, studies: Sequence[Study]) -> str:
    """Return a hash of everything that determines a shard, other than the image files themselves."""
    return sha256_of(json.dumps(settings, sort_keys=True), *(study.model_dump_json() for study in studies))


def shard_is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether a finished shard of this fingerprint lies there."""
    file = folder / SHARD_FILE
    try:
        return file.is_file() and bool(read_json(file)["fingerprint"] == fingerprint)
    except (UserError, KeyError, TypeError):
        return False


def write_shard(
    source: Source,
    studies: Sequence[Study],
    settings: PrepareConfig | PrepareVolumesConfig,
    folder: Path,
    fingerprint: str,
    pseudonyms: Pseudonyms | None = None,
) -> None:
    """Read the images of some studies and commit them as one shard, by rename; images that cannot be read are quarantined.

    Args:
        source: Where the images come from.
        studies: The studies of this shard, with their split.
        settings: What is stored of an image.
        folder: The shard's folder; it must not exist.
        fingerprint: Goes into the shard's own description.
        pseudonyms: What identifiers are replaced by, after reading; None: they are written as they are.
    """
    try:
        with atomic_folder(folder) as temporary:
            shelf = _shelf(temporary, settings)
            quarantine = _fill(shelf, source, studies, pseudonyms)
            _finish(shelf, quarantine, {"fingerprint": fingerprint, "studies": len(studies), "images": len(shelf.records)})
    except OSError:
        if not shard_is_whole(folder, fingerprint):  # the worker of a killed process may have been a moment faster
            raise


def _shelf(folder: Path, settings: PrepareConfig | PrepareVolumesConfig) -> Shelf:
    if isinstance(settings, PrepareConfig):
        return PixelShelf(folder, settings)
    from lingula.data.volume_shelf import VolumeShelf  # its libraries are an extra

    return VolumeShelf(folder, settings)


def _fill(shelf: Shelf, source: Source, studies: Sequence[Study], pseudonyms: Pseudonyms | None) -> list[Record]:
    """Put all good images on the shelf; return what could not be read or stored."""
    quarantine: list[Record] = []
    for study in studies:
        shown = _named_by(study, pseudonyms)
        for number, reference in enumerate(study.images):
            try:
                problems = shelf.add(shown, number, source.read(study, number))
            except UnreadableImage as error:
                problems = [(reference.path, error.reason)]
            quarantine += [{"study_id": shown.study_id, "path": path, "reason": reason} for path, reason in problems]
    return quarantine


def _named_by(study: Study, pseudonyms: Pseudonyms | None) -> Study:
    if pseudonyms is None:
        return study
    ids = {"study_id": pseudonyms.study(study.study_id), "patient_id": pseudonyms.patient(study.patient_id)}
    return study.model_copy(update=ids)


def _finish(shelf: Shelf, quarantine: list[Record], about: Record) -> None:
    """Write the index, and last what the shard says about itself."""
    names = [*shelf.close(), INDEX_FILE, QUARANTINE_FILE]
    pq.write_table(pa.Table.from_pylist(shelf.records, schema=shelf.schema), shelf.folder / INDEX_FILE, compression="zstd")
    pq.write_table(pa.Table.from_pylist(quarantine, schema=QUARANTINE_SCHEMA), shelf.folder / QUARANTINE_FILE)
    files = {name: sha256_of_file(shelf.folder / name) for name in names}
    text = json.dumps({**about, "files": files}, indent=2)
    (shelf.folder / SHARD_FILE).write_text(text + "\n", encoding="utf-8")
