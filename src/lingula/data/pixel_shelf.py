"""Radiographs made square and written as one array per shard."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image

from lingula.core.types import Pixels, RegionMask
from lingula.data.prepare_config import PrepareConfig
from lingula.data.readers import UnreadableImage, fit_mask, fit_square, fitted_shape, to_depth
from lingula.data.shelf import Problem, Record, Shelf, region_record
from lingula.data.store_schema import INDEX_SCHEMA, PIXELS_FILE
from lingula.data.study import Picture, Scan, Study


class PixelShelf(Shelf):
    """The radiographs of one shard.

    Args:
        folder: Where the shard is written.
        settings: Size and depth of the stored images.
    """

    schema: ClassVar[pa.Schema] = INDEX_SCHEMA

    def __init__(self, folder: Path, settings: PrepareConfig) -> None:
        super().__init__(folder)
        self._settings = settings
        self._squares: list[Pixels] = []

    def add(self, study: Study, number: int, image: Picture | Scan) -> list[Problem]:
        """Make one radiograph square; see `Shelf.add`."""
        if isinstance(image, Scan):
            raise UnreadableImage("a CT volume is no radiograph")
        pixels = image.pixels
        if pixels.ndim != 2 or 0 in pixels.shape or pixels.dtype not in (np.uint8, np.uint16):
            raise UnreadableImage(f"not a grey image of 8 or 16 bits: shape {pixels.shape}, {pixels.dtype}")
        height, width = pixels.shape
        square, scale, pad_top, pad_left = fit_square(to_depth(pixels, self._settings.bit_depth), self._settings.size)
        regions, problems = _store_regions(study, number, image, self._settings.size)
        geometry = {"height": height, "width": width, "scale": scale, "pad_top": pad_top, "pad_left": pad_left}
        self._keep(
            _with_header(study, number, image),
            number,
            regions,
            geometry,
            hashlib.sha256(np.ascontiguousarray(square).data).hexdigest(),
        )
        self._squares.append(square)
        return problems + image.problems

    def close(self) -> list[str]:
        """Write all pixels as one array."""
        dtype = np.uint8 if self._settings.bit_depth == 8 else np.uint16
        empty = np.zeros((0, self._settings.size, self._settings.size), dtype=dtype)
        _save(self.folder / PIXELS_FILE, np.stack(self._squares) if self._squares else empty)
        return [PIXELS_FILE]


def _save(path: Path, pixels: np.ndarray) -> None:
    """Write the bytes that `np.save` writes; unlike it, a full disk keeps its error number."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(pixels))
        file.write(np.ascontiguousarray(pixels).data)


def _with_header(study: Study, number: int, picture: Picture) -> Study:
    """Add to a study what the header of one of its images says and the study does not."""
    if not picture.extra and picture.projection == "unknown":
        return study
    images = list(study.images)
    if images[number].projection == "unknown":
        images[number] = images[number].model_copy(update={"projection": picture.projection})
    return study.model_copy(update={"images": images, "extra": {**picture.extra, **study.extra}})


def _store_regions(study: Study, number: int, picture: Picture, size: int) -> tuple[list[Record], list[Problem]]:
    """Scale boxes and masks to the stored square; boxes are clipped to the image."""
    boxes = [(region, None) for region in study.regions if region.image_index == number and region.mask is None]
    stored: list[Record] = []
    problems: list[Problem] = []
    for region, mask in [*boxes, *zip(picture.regions, picture.masks, strict=True)]:
        box = _scale_box(region.box, picture.pixels.shape, size)
        if box is None:
            problems.append((study.images[number].path, f"region '{region.finding}' lies outside the image"))
        elif mask is not None and mask.shape != picture.pixels.shape:
            problems.append((study.images[number].path, f"mask of '{region.finding}': not of the image's size"))
        else:
            stored.append(region_record(region, box, None if mask is None else _encode(fit_mask(mask, size))))
    return stored, problems


def _scale_box(box: tuple[float, ...], shape: tuple[int, ...], size: int) -> tuple[float, ...] | None:
    """Bring a box onto the stored square, clipped to the image; None where nothing of it is left, or it is no box of a plane."""
    if len(box) != 4:
        return None
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
