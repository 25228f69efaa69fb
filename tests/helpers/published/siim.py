"""SIIM-ACR: six images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dicom_files import write_dicom
from miniatures import write_text

UID = "1.2.276.0.7230010.3.1.4.8323329"

TWO = f"{UID}.2.1"


def mini(root: Path, header: str = "ImageId, EncodedPixels", none: str = " -1", side: int = 1024) -> Path:
    """Six images, the second with a mask of two rows, one of them twice; every image below two folders of its own."""
    rows = [f"{UID}.{number}.1,{none}" for number in range(6) if number != 2]
    rows += [f"{TWO}, {10 * 1024 + 5} 3 1021 3", f"{TWO}, 0 2", f"{TWO}, 0 2"]
    write_text(root / "train-rle.csv", "\n".join([header, *rows]))
    for number in range(6):
        pixels = np.full((side, side), 10 * number, np.uint8)
        pixels[0, 0] = 255
        file = root / f"dicom-images-train/{UID}.{number}.3/{UID}.{number}.2/{UID}.{number}.1.dcm"
        write_dicom(file, pixels, PatientSex="F", PatientAge="031Y", ViewPosition="PA")
    return root
