"""Small DICOM radiographs, written for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid


def dicom(pixels: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> Dataset:
    """Return a radiograph of the given stored values; a tag of None is left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    bits = 8 * pixels.dtype.itemsize
    values: dict[str, Any] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": generate_uid(),
        "Modality": "CR",
        "PatientID": "p1",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1 if pixels.ndim == 2 else pixels.shape[2],
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": tags.get("BitsStored", bits) - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **tags,
    }
    for name, value in values.items():
        if value is not None:
            setattr(dataset, name, value)
    if tags.get("PixelData", b"") is not None:
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax, generate_instance_uid=False)
    return dataset


def write_dicom(path: Path, pixels: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> np.ndarray:
    """Write such a radiograph and return its stored values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dicom(pixels, syntax, **tags).save_as(path, enforce_file_format=True)
    return pixels


def look_up_table(values: list[int], first: int, bits: int) -> Dataset:
    """Return one item of a LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values), first, bits])
    item.add_new("LUTData", "US", values)
    return item
