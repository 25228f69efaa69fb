"""Radiographs from PNG, JPEG and DICOM files, grey and upright, and how they become square."""

from __future__ import annotations

import errno
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lingula.core.patience import patiently
from lingula.core.types import Pixels, RegionMask

FORMATS = ("PNG", "JPEG")
LARGEST_AREA = 89_000_000
"""Pixels; a radiograph has at most about 20 million, so more than this is a decompression bomb or no radiograph."""

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

_SYSTEM_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "no permission to read it",
    errno.EPERM: "no permission to read it",
    errno.ELOOP: "its symbolic links run in a circle",
    errno.ENAMETOOLONG: "no such file",
}


class UnreadableImage(Exception):  # noqa: N818
    """An image file that cannot be read; the item is quarantined and preparation goes on.

    Args:
        reason: Why, in a few words.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_radiograph(path: Path) -> Pixels:
    """Read a PNG, JPEG or DICOM file, told apart by content, as grey values, `height width`, bright is dense.

    8-bit images (grey, palette, RGB, with or without alpha) give uint8, by luminance where they are coloured; alpha is dropped.
    16-bit grey PNGs give uint16. Pillow reduces 16-bit colour PNGs to 8 bits. EXIF orientation is applied. DICOM files give
    uint8 up to 8 bits stored and uint16 above, through their modality and VOI LUTs (see `lingula.data.dicom`).

    What a disk refuses for a moment (EIO, a stale handle of a shared disk) is tried again, twice.

    Raises:
        UnreadableImage: The file is missing, empty, truncated, of another format, or too large to be a radiograph.
    """
    return patiently(lambda: _read_once(path))


def _read_once(path: Path) -> Pixels:
    if is_dicom(path):
        from lingula.data.dicom import read_dicom  # pydicom is loaded only where there is DICOM to read

        return read_dicom(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF data, of which only the orientation matters
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > LARGEST_AREA:
                    raise UnreadableImage(f"{image.width} x {image.height} pixels is too large for a radiograph")
                image.load()
                return _grey(ImageOps.exif_transpose(image))
    except _DECODER_ERRORS as error:
        raise UnreadableImage(_reason(path, error)) from error


def is_dicom(path: Path) -> bool:
    """Whether a file begins like DICOM: `DICM` behind the preamble, or a tag of group 0008 without one.

    Raises:
        UnreadableImage: It is missing, no regular file (a folder, a pipe), or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImage("is a folder" if path.is_dir() else "is no regular file")
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise UnreadableImage(_reason(path, error)) from error
    return head[128:] == b"DICM" or (head[:2] == b"\x08\0" and head[3:4] == b"\0")


def read_mask(path: Path) -> RegionMask:
    """Read a PNG mask, `height width`; every value above half of the range is inside.

    Raises:
        UnreadableImage: The file cannot be read.
    """
    pixels = read_radiograph(path)
    return np.asarray(pixels > max(int(pixels.max()) // 2, 0))


def to_depth(pixels: Pixels, bits: int) -> Pixels:
    """Bring grey values to 8 or 16 bits over the whole range.

    A uint8 image uses 8 bits. A uint16 image uses the smallest number of bits, from 8 to 16, that holds its brightest value:
    12-bit radiographs in 16-bit files (largest value 4095) are stretched to the full range, genuine 16-bit images are not
    (16 to 8 bits is then a division by 257), and two images of the same depth keep their relation. Nothing wraps or is clipped.
    """
    if pixels.dtype == np.uint8 and bits == 8:
        return pixels
    used = 8 if pixels.dtype == np.uint8 else max(8, int(pixels.max()).bit_length())
    largest, target = 2**used - 1, 2**bits - 1
    table = np.rint(np.arange(largest + 1) * (target / largest)).astype(np.uint8 if bits == 8 else np.uint16)
    stretched: Pixels = table[pixels]
    return stretched


def fit_square(pixels: Pixels, size: int) -> tuple[Pixels, float, int, int]:
    """Resize with anti-aliasing so that the longer side is `size`, then pad with black to `size size`, image in the middle.

    Args:
        pixels: `height width`, uint8 or uint16.
        size: Side of the result in pixels.

    Returns:
        The square, the scale, and the rows above and columns left of the image: a point (x, y) of the image as read lies at
        (x · scale + pad_left, y · scale + pad_top), to within half a pixel. Rows of the image content: see `fitted_shape`.
    """
    height, width = pixels.shape
    rows, columns, scale = fitted_shape(height, width, size)
    pad_top, pad_left = (size - rows) // 2, (size - columns) // 2
    if (rows, columns) != (height, width):
        pixels = _resize(pixels, rows, columns)
    if rows == columns == size:
        return pixels, scale, 0, 0
    square = np.zeros((size, size), dtype=pixels.dtype)
    square[pad_top : pad_top + rows, pad_left : pad_left + columns] = pixels
    return square, scale, pad_top, pad_left


def fitted_shape(height: int, width: int, size: int) -> tuple[int, int, float]:
    """Return rows and columns of an image once its longer side is `size`, and the scale."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale)), scale


def fit_mask(mask: RegionMask, size: int) -> RegionMask:
    """Bring a mask onto the square of `fit_square`: pixels covered by half or more are inside.

    A structure too thin to cover half of any pixel (a tube) keeps the pixels that it covers most, by half of its own maximum.
    """
    if mask.shape == (size, size):
        return mask
    coverage, *_ = fit_square(mask.astype(np.uint8) * 255, size)
    return np.asarray(coverage >= max(1, min(128, (int(coverage.max()) + 1) // 2)))


def _resize(pixels: Pixels, rows: int, columns: int) -> Pixels:
    """Resize with a triangle filter whose support grows with the reduction."""
    if pixels.dtype == np.uint8:
        image = Image.fromarray(pixels)
        return np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR, reducing_gap=3.0))
    image = Image.fromarray(pixels.astype(np.float32))
    values = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR))
    rounded: Pixels = np.rint(np.clip(values, 0, 65535)).astype(np.uint16)
    return rounded


def _grey(image: Image.Image) -> Pixels:
    """Turn a decoded image into grey values."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImage("grey values do not fit into 16 bits")
        return values.astype(np.uint16)
    if image.mode == "P":
        image = image.convert("RGB")
    if image.mode != "L":
        image = image.convert("L")
    return np.array(image, dtype=np.uint8)


def _reason(path: Path, error: Exception) -> str:
    """Say in a few words why a file cannot be read."""
    if isinstance(error, OSError) and error.errno in _SYSTEM_REASONS:
        return _SYSTEM_REASONS[error.errno]
    if isinstance(error, OSError) and error.errno is not None:
        return f"read error: {os.strerror(error.errno)}"
    if path.stat().st_size == 0:
        return "file is empty"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too large for a radiograph"
    if isinstance(error, UnidentifiedImageError):
        return "not a PNG, JPEG or DICOM image"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "file is truncated" if "truncated" in reason.lower() else reason
