"""Radiographs from DICOM files of any common encoding, as grey values like those of other files."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from lingula.core.types import Pixels
from lingula.data import readers
from lingula.data.coded_size import coded_size
from lingula.data.dicom_values import grey_values, has_voi_table, window_of
from lingula.data.expendable_decoder import decode_expendably
from lingula.data.readers import UnreadableImage

for _library in ("pydicom", "openjpeg"):  # what they would print of a damaged file is told by the reason, without its data
    logging.getLogger(_library).addHandler(logging.NullHandler())

DEFAULTS: dict[str, object] = {
    "PhotometricInterpretation": "MONOCHROME2",
    "SamplesPerPixel": 1,
    "PixelRepresentation": 0,
    "BitsAllocated": 16,
}
"""What a missing tag is taken to be. Bits Stored is Bits Allocated, High Bit one less; rescale is slope 1, intercept 0."""
PLUGINS = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEG2000: "pylibjpeg",
    JPEG2000Lossless: "pylibjpeg",
    RLELossless: "pydicom",
}
"""What decodes in this process; everything else (lossless JPEG, JPEG-LS) goes to gdcm in a process of its own."""
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
KNOWN_KINDS = (*COLOURS, "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "YBR_PARTIAL_420")
"""Photometric interpretations that a reason may name; any other text of the header stays out of it."""
BORDER_SHARE = 0.02
"""Largest deviation from the corner's grey value, as a share of the range, within a border."""


def read_dicom(path: Path) -> Pixels:
    """Read a single-frame DICOM radiograph, `height width`, uint8 (up to 8 bits stored) or uint16, bright is dense.

    Colour (secondary captures) becomes luminance. See `lingula.data.dicom_values.grey_values` for LUTs and windows.

    Raises:
        UnreadableImage: The file has no pixels, several frames, a size or encoding that is refused, or is damaged.
    """
    with damage():
        stored, dataset = _read_and_decode(path)
        if dataset.SamplesPerPixel == 3:
            return _luminance(stored)
        return grey_values(_used_bits(stored, dataset), dataset)


def read_slice(path: Path) -> tuple[np.ndarray, FileDataset]:
    """Read a single-frame grey DICOM file: its values as stored, `rows columns`, int8 to uint16, and its header.

    Raises:
        UnreadableImage: The file has no pixels, several frames, colours, a size or encoding that is refused, or is damaged.
    """
    with damage():
        stored, dataset = _read_and_decode(path)
        if dataset.PhotometricInterpretation != "MONOCHROME2":
            raise UnreadableImage("a slice that is coloured or inverted is no CT")
        return _used_bits(stored, dataset), dataset


def _read_and_decode(path: Path) -> tuple[np.ndarray, FileDataset]:
    dataset = read_header(path, with_pixels=True)
    _check(dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    in_house = not syntax.is_encapsulated or syntax in PLUGINS
    stored = _decode(dataset, PLUGINS.get(syntax)) if in_house else decode_expendably(path)
    if stored.shape[:2] != (dataset.Rows, dataset.Columns):
        raise UnreadableImage(f"decoded to {stored.shape}, not to {dataset.Rows} x {dataset.Columns}")
    return stored, dataset


def decode_with_gdcm(path: Path) -> np.ndarray:
    """Decode the one frame of a checked file with gdcm, which may end this process.

    Raises:
        UnreadableImage: The file is damaged.
    """
    with damage():
        dataset = read_header(path, with_pixels=True)
        _check(dataset)
        return _decode(dataset, "gdcm")


def read_header(path: Path, with_pixels: bool = False, tags: Sequence[str] | None = None) -> FileDataset:
    """Read a DICOM file's header with missing image tags set to their defaults, listed as `defaults_used`.

    Args:
        path: The file, with or without the preamble.
        with_pixels: Read the pixel data too.
        tags: Read these keywords only; None: all.

    Raises:
        UnreadableImage: The file is damaged.
    """
    with damage():
        if _is_deflated(path):
            raise UnreadableImage("deflated transfer syntax is not read")
        chosen: list[Any] | None = list(tags) if tags else None
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=not with_pixels, specific_tags=chosen)
        meta = dataset.file_meta
        if "TransferSyntaxUID" not in meta:
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return dataset


def defaults_used(dataset: FileDataset) -> list[str]:
    """Name the image tags that a header lacks and what they are taken to be, windows included."""
    used = [f"{tag}={value}" for tag, value in DEFAULTS.items() if dataset.get(tag) in (None, "")]
    if dataset.get("BitsStored") is None:
        used.append("BitsStored=BitsAllocated")
    if not has_voi_table(dataset) and window_of(dataset) is None:
        used.append("window=range of the image")
    return used


def border_of(pixels: Pixels) -> tuple[slice, slice]:
    """Find the rows and columns inside a constant border (collimator, film edge), from the outside inwards.

    A row or column belongs to the border while all of it is within 2 % of the range of the outermost one's first value.
    An image that is border all over has none.
    """
    tolerance = BORDER_SHARE * np.iinfo(pixels.dtype).max
    rows = _inside(pixels, tolerance)
    if rows is None:
        return slice(0, pixels.shape[0]), slice(0, pixels.shape[1])
    columns = _inside(pixels[rows].T, tolerance) or slice(0, pixels.shape[1])
    return rows, columns


def _inside(pixels: np.ndarray, tolerance: float) -> slice | None:
    """Return the rows between the first and the last that are not constant, None where all are."""
    low, high = pixels.min(axis=1).astype(np.int64), pixels.max(axis=1).astype(np.int64)
    top, bottom = (
        np.flatnonzero((high > edge + tolerance) | (low < edge - tolerance)) for edge in (int(pixels[0, 0]), int(pixels[-1, 0]))
    )
    if not top.size or not bottom.size or top[0] > bottom[-1]:
        return None
    return slice(int(top[0]), int(bottom[-1]) + 1)


@contextmanager
def damage() -> Iterator[None]:
    """Turn whatever the libraries raise on a damaged file into `UnreadableImage`; pydicom names no common error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UnreadableImage, NameError):
        raise
    except Exception as error:
        raise UnreadableImage(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Say in a few words what is wrong; never the library's own text, which may quote the patient's data."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"read error: {os.strerror(error.errno)}"
    if isinstance(error, EOFError) or "less than expected" in str(error):
        return "file is truncated"
    return f"damaged DICOM file ({type(error).__name__})"


def _is_deflated(path: Path) -> bool:
    """Whether the data set is compressed as a whole; pydicom would inflate it without bound. Only files with a preamble are."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return False
    return bool(read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian)


def _check(dataset: FileDataset) -> None:
    """Fill in defaults and refuse what is no single radiograph, before anything is decoded."""
    if "PixelData" not in dataset or not dataset.PixelData:
        floats = "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
        raise UnreadableImage("floating-point pixels are no radiograph" if floats else "no pixel data")
    for tag, value in DEFAULTS.items():
        if dataset.get(tag) in (None, ""):
            setattr(dataset, tag, value)
    if dataset.get("BitsStored") is None:
        dataset.BitsStored = dataset.BitsAllocated
    if dataset.get("HighBit") is None:
        dataset.HighBit = dataset.BitsStored - 1
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnreadableImage(f"multi-frame: {frames} frames")
    _check_size(dataset)
    _check_values(dataset)


def _check_size(dataset: FileDataset) -> None:
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not rows or not columns:
        raise UnreadableImage(f"zero-sized: {columns} x {rows} pixels")
    if rows * columns > readers.LARGEST_AREA:
        raise UnreadableImage(f"{columns} x {rows} pixels is too large for a radiograph")
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    found = coded_size(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if found is not None and found != (rows, columns):
        raise UnreadableImage(f"header says {columns} x {rows} pixels, the coded image {found[1]} x {found[0]}")


def _check_values(dataset: FileDataset) -> None:
    allocated, stored, high = int(dataset.BitsAllocated), int(dataset.BitsStored), int(dataset.HighBit)
    kind = str(dataset.PhotometricInterpretation)
    if (allocated not in (8, 16)) or not 0 < stored <= allocated or dataset.PixelRepresentation not in (0, 1):
        raise UnreadableImage(f"{stored} of {allocated} bits per value")
    if high != stored - 1:
        raise UnreadableImage(f"high bit {high} with {stored} bits stored")
    grey = kind in ("MONOCHROME1", "MONOCHROME2") and dataset.SamplesPerPixel == 1
    if not grey and not (kind in COLOURS and dataset.SamplesPerPixel == 3):
        kind = kind if kind in KNOWN_KINDS else "unknown photometric interpretation"
        raise UnreadableImage(f"{kind} with {dataset.SamplesPerPixel} samples per pixel is no radiograph")


def _decode(dataset: FileDataset, plugin: str | None) -> np.ndarray:
    """Decode the one frame, in native byte order."""
    if plugin:
        dataset.pixel_array_options(decoding_plugin=plugin)
    try:
        values = dataset.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        raise UnreadableImage(f"{dataset.file_meta.TransferSyntaxUID.name}: damaged, or a kind that is not decoded") from error
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def _used_bits(stored: Pixels, dataset: FileDataset) -> Pixels:
    """Clear, or extend the sign over, the bits above those stored, where old files keep overlays."""
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
        raise UnreadableImage(f"values of type {stored.dtype}")
    unused = 8 * stored.dtype.itemsize - int(dataset.BitsStored)
    return stored << unused >> unused if unused > 0 else stored


def _luminance(colour: np.ndarray) -> Pixels:
    """Turn RGB into luminance (ITU-R 601-2), row by row, in the depth it has."""
    if colour.dtype not in (np.uint8, np.uint16) or colour.ndim != 3:
        raise UnreadableImage(f"colour of type {colour.dtype}")
    grey = np.empty(colour.shape[:2], dtype=colour.dtype)
    for row, values in enumerate(colour):
        grey[row] = np.rint(values @ np.array([0.299, 0.587, 0.114]))
    return grey
