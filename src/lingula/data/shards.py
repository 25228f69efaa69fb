"""One shard: the images of a few studies, read, made square and written, as one function that any pool can map."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lingula.core.errors import UserError
from lingula.core.files import atomic_folder, read_json, sha256_of, sha256_of_file
from lingula.core.types import Pixels, RegionMask
from lingula.data.identifiers import Pseudonyms
from lingula.data.prepare_config import PrepareConfig
from lingula.data.readers import UnreadableImage, fit_mask, fit_square, fitted_shape, to_depth
from lingula.data.store_schema import INDEX_FILE, INDEX_SCHEMA, PIXELS_FILE, QUARANTINE_FILE, QUARANTINE_SCHEMA, SHARD_FILE
from lingula.data.study import Picture, Region, Source, Study

Record = dict[str, Any]


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
    settings: PrepareConfig,
    folder: Path,
    fingerprint: str,
    pseudonyms: Pseudonyms | None = None,
) -> None:
    """Read the images of some studies and commit them as one shard, by rename; images that cannot be read are quarantined.

    Args:
        source: Where the images come from.
        studies: The studies of this shard, with their split.
        settings: Size and depth of the stored images.
        folder: The shard's folder; it must not exist.
        fingerprint: Goes into the shard's own description.
        pseudonyms: What identifiers are replaced by, after reading; None: they are written as they are.
    """
    squares: list[Pixels] = []
    records: list[Record] = []
    quarantine: list[Record] = []
    for study in studies:
        shown = _named_by(study, pseudonyms)
        for number, reference in enumerate(study.images):
            try:
                picture = source.read(study, number)
                stored = _store_picture(shown, number, picture, settings)
            except UnreadableImage as error:
                quarantine.append({"study_id": shown.study_id, "path": reference.path, "reason": error.reason})
                continue
            square, record, problems = stored
            squares.append(square)
            records.append(record)
            quarantine += [{"study_id": shown.study_id, "path": path, "reason": reason} for path, reason in problems]
    dtype = np.uint8 if settings.bit_depth == 8 else np.uint16
    pixels = np.stack(squares) if squares else np.zeros((0, settings.size, settings.size), dtype=dtype)
    about = {"fingerprint": fingerprint, "studies": len(studies), "images": len(records)}
    try:
        _commit(folder, pixels, records, quarantine, about)
    except OSError:
        if not shard_is_whole(folder, fingerprint):  # the worker of a killed process may have been a moment faster
            raise


def _named_by(study: Study, pseudonyms: Pseudonyms | None) -> Study:
    if pseudonyms is None:
        return study
    ids = {"study_id": pseudonyms.study(study.study_id), "patient_id": pseudonyms.patient(study.patient_id)}
    return study.model_copy(update=ids)


def _commit(folder: Path, pixels: np.ndarray, records: list[Record], quarantine: list[Record], about: Record) -> None:
    with atomic_folder(folder) as temporary:
        _save(temporary / PIXELS_FILE, pixels)
        pq.write_table(pa.Table.from_pylist(records, schema=INDEX_SCHEMA), temporary / INDEX_FILE, compression="zstd")
        pq.write_table(pa.Table.from_pylist(quarantine, schema=QUARANTINE_SCHEMA), temporary / QUARANTINE_FILE)
        files = {name: sha256_of_file(temporary / name) for name in (PIXELS_FILE, INDEX_FILE, QUARANTINE_FILE)}
        text = json.dumps({**about, "files": files}, indent=2)
        (temporary / SHARD_FILE).write_text(text + "\n", encoding="utf-8")


def _save(path: Path, pixels: np.ndarray) -> None:
    """Write the bytes that `np.save` writes; unlike it, a full disk keeps its error number."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(pixels))
        file.write(np.ascontiguousarray(pixels).data)


def _store_picture(
    study: Study, number: int, picture: Picture, settings: PrepareConfig
) -> tuple[Pixels, Record, list[tuple[str, str]]]:
    """Return the stored square, its row of the index, and what of its regions had to be left out."""
    pixels = picture.pixels
    if pixels.ndim != 2 or 0 in pixels.shape or pixels.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage(f"not a grey image of 8 or 16 bits: shape {pixels.shape}, {pixels.dtype}")
    height, width = pixels.shape
    square, scale, pad_top, pad_left = fit_square(to_depth(pixels, settings.bit_depth), settings.size)
    regions, problems = _store_regions(study, number, picture, settings.size)
    reference = study.images[number]
    record = {
        "row_id": f"{study.study_id}:{number}",
        "study_id": study.study_id,
        "image_index": number,
        "patient_id": study.patient_id,
        "split": study.split,
        "modality": reference.modality,
        "projection": reference.projection,
        "sections": list(study.report.sections.items()) if study.report else [],
        "labels": list(study.labels.items()),
        "regions": regions,
        "height": height,
        "width": width,
        "scale": scale,
        "pad_top": pad_top,
        "pad_left": pad_left,
        "pixel_sha256": hashlib.sha256(np.ascontiguousarray(square).data).hexdigest(),
        "path": reference.path,
        "licence": study.licence,
        "extra": list(study.extra.items()),
    }
    return square, record, problems + picture.problems


def _store_regions(study: Study, number: int, picture: Picture, size: int) -> tuple[list[Record], list[tuple[str, str]]]:
    """Scale boxes and masks to the stored square; boxes are clipped to the image."""
    boxes = [(region, None) for region in study.regions if region.image_index == number and region.mask is None]
    stored: list[Record] = []
    problems: list[tuple[str, str]] = []
    for region, mask in [*boxes, *zip(picture.regions, picture.masks, strict=True)]:
        box = _scale_box(region.box, picture.pixels.shape, size)
        if box is None:
            problems.append((study.images[number].path, f"region '{region.finding}' lies outside the image"))
        elif mask is not None and mask.shape != picture.pixels.shape:
            problems.append((study.images[number].path, f"mask of '{region.finding}': not of the image's size"))
        else:
            stored.append(_region_record(region, box, mask, size))
    return stored, problems


def _region_record(region: Region, box: tuple[float, ...], mask: RegionMask | None, size: int) -> Record:
    return {
        "finding": region.finding,
        "kind": region.kind,
        **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
        "mask": None if mask is None else _encode(fit_mask(mask, size)),
        "phrase": region.phrase,
        "sentence_index": region.sentence_index,
    }


def _scale_box(box: tuple[float, float, float, float], shape: tuple[int, ...], size: int) -> tuple[float, ...] | None:
    """Bring a box onto the stored square, clipped to the image; None where nothing of it is left."""
    height, width = shape
    rows, columns, scale = fitted_shape(height, width, size)
    left, top = (size - columns) // 2, (size - rows) // 2
    x1, x2 = (min(max(x * scale, 0.0), float(columns)) + left for x in (box[0], box[2]))
    y1, y2 = (min(max(y * scale, 0.0), float(rows)) + top for y in (box[1], box[3]))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _encode(mask: RegionMask) -> bytes:
    """Encode a mask as PNG with one bit per pixel."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="PNG", compress_level=6)
    return file.getvalue()
