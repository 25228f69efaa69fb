"""All of pydicom's test files: each is read as pydicom reads it, or refused with the reason that is due to it."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pydicom.data
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

from lingula.data.readers import UnreadableImage, read_radiograph

FOLDERS = (Path(pydicom.data.__file__).parent / "test_files", Path(data_store.__file__).parent / "data")
LARGEST = 1 << 20
"""Bytes; the large ones are the same pictures in other encodings, and the radiograph has a test of its own."""
REFUSED = {
    "no pixel data": 70,
    "multi-frame": 23,
    "32 of 32 bits per value": 6,
    "1 of 1 bits per value": 2,
    "PALETTE COLOR with 1 samples per pixel is no radiograph": 7,
    "JPEG Extended (Process 2 and 4): damaged, or a kind that is not decoded": 2,
    "not a PNG, JPEG or DICOM image": 3,
    "zero-sized: 0 x 0 pixels": 2,
    "deflated transfer syntax is not read": 1,
    "file is truncated": 1,
    "damaged DICOM file (ValueError)": 1,
    "header says 256 x 1024 pixels, the coded image 3722445056 x 1024": 1,
}


def files() -> list[Path]:
    found = {path.name: path for folder in FOLDERS for path in sorted(folder.rglob("*")) if path.is_file()}
    return [path for path in found.values() if path.suffix in ("", ".dcm") and path.stat().st_size < LARGEST]


def expected_of(path: Path) -> np.ndarray:
    """Grey values by pydicom's own functions, in a scale of their own; bright is dense."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        stored = pixel_array(dataset)
        if stored.ndim == 3:
            return stored @ np.array([0.299, 0.587, 0.114])
        values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset, prefer_lut=True).astype(np.float64)
    return -values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def test_every_file_is_read_as_pydicom_reads_it_or_refused_with_a_reason() -> None:
    refused, read = Counter[str](), 0
    for path in files():
        try:
            found = read_radiograph(path)
        except UnreadableImage as error:
            refused["multi-frame" if error.reason.startswith("multi-frame") else error.reason] += 1
            continue
        read += 1
        x, y = expected_of(path).ravel(), found.ravel() / np.iinfo(found.dtype).max
        if np.ptp(x) == 0:
            assert np.ptp(y) == 0, path.name
            continue
        slope, shift = np.polyfit(x, y, 1)
        assert slope > 0, path.name
        assert np.abs(slope * x + shift - y).max() < 2.5 / 255, path.name
    print(f"{read} read, {refused.total()} refused: {dict(refused)}")
    assert dict(refused) == REFUSED
    assert read >= 100


def test_lossless_jpeg_and_rle_give_the_uncompressed_picture_bit_for_bit() -> None:
    (plain,) = (path for path in files() if path.name == "SC_rgb.dcm")
    packed = [path for path in files() if path.name in ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm")]
    assert len(packed) == 2
    for path in packed:
        np.testing.assert_array_equal(read_radiograph(path), read_radiograph(plain))
