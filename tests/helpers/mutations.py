"""Damaged image files: small valid PNG, JPEG and DICOM files with flipped, cut, spliced, doubled and lost bytes."""

from __future__ import annotations

import io
import random
import resource
import signal
from collections import Counter
from pathlib import Path

import numpy as np
from dicom_files import dicom, look_up_table
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, RLELossless

from lingula.data.readers import UnreadableImage, read_radiograph

REAL = (
    *(
        "MR_small",
        "MR_small_RLE",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
        "MR_small_bigendian",
        "MR_small_implicit",
    ),
    *("JPEGLSNearLossless_16", "SC_rgb_jpeg_gdcm", "SC_rgb_jpeg_dcmtk", "SC_rgb_small_odd", "JPEG2000", "693_J2KI"),
)
SECONDS_PER_FILE = 10.0
"""Of processor time."""
MEMORY = 3 << 30
"""Bytes of address space that reading a small damaged file may take, libraries included."""


def seeds() -> list[bytes]:
    """Return the valid files."""
    grey = np.random.default_rng(0).integers(0, 256, (48, 40), dtype=np.uint8)
    deep = grey.astype(np.uint16) * 16
    files = [_saved(Image.fromarray(grey), format="PNG"), _saved(Image.fromarray(deep), format="PNG")]
    files += [_saved(Image.fromarray(grey).convert(mode), format="PNG") for mode in ("RGBA", "P", "LA")]
    files += [_saved(Image.fromarray(grey), format="JPEG", progressive=progressive) for progressive in (False, True)]
    files += [_saved(Image.fromarray(grey).convert("RGB"), format="JPEG", exif=Image.Exif())]
    table = {"VOILUTSequence": [look_up_table(list(range(0, 4096, 2)), 100, 12)]}
    window = {"WindowCenter": 2000, "WindowWidth": 3000, "VOILUTFunction": "SIGMOID", "RescaleSlope": 1, "RescaleIntercept": -5}
    for pixels, tags in ((grey, {}), (deep, {"BitsStored": 12, **table}), (deep, {"BitsStored": 12, **window})):
        for syntax in (None, RLELossless, JPEG2000Lossless):
            dataset = dicom(pixels, **({"syntax": syntax} if syntax else {}), **tags)
            file = io.BytesIO()
            dataset.save_as(file, enforce_file_format=True)
            files.append(file.getvalue())
    return files + [Path(str(get_testdata_file(f"{name}.dcm", download=False))).read_bytes() for name in REAL]


def _saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def mutate(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Return a damaged copy; half of the damage is near the beginning, where the headers are."""
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not damaged:
            break
        reach = len(damaged) if chance.random() < 0.5 else min(700, len(damaged))
        at, length = chance.randrange(reach), chance.choice((1, 2, 4, 16, 200))
        kind = chance.choice(("flip", "flip", "set", "number", "cut", "splice", "double", "lose"))
        if kind == "flip":
            damaged[at] ^= 1 << chance.randrange(8)
        elif kind == "set":
            damaged[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == "number":
            damaged[at : at + 2] = chance.choice((b"\0\0", b"\xff\xff", b"\xff\x7f", b"\0\x80", b"\1\0"))
        elif kind == "cut":
            del damaged[at:]
        elif kind == "splice":
            begin = chance.randrange(len(other))
            damaged[at : at + length] = other[begin : begin + length]
        elif kind == "double":
            damaged[at:at] = damaged[at : at + length]
        else:
            del damaged[at : at + length]
    return bytes(damaged)


def read_mutated(seed: int, count: int, folder: Path) -> Counter[str]:
    """Read damaged files one after the other and count what came of them; the current one lies in the folder.

    A file that takes too long kills this process, as a crash in a native library does.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    chance, valid = random.Random(seed), seeds()
    file, outcomes = folder / f"current-{seed}", Counter[str]()
    for number in range(count):
        file.write_bytes(mutate(chance, valid[(seed + number) % len(valid)], chance.choice(valid)))
        signal.setitimer(signal.ITIMER_PROF, SECONDS_PER_FILE)
        try:
            pixels = read_radiograph(file)
        except UnreadableImage as error:
            outcomes[error.reason] += 1
        else:
            assert pixels.ndim == 2, file
            assert pixels.size, file
            assert pixels.dtype in (np.uint8, np.uint16), file
            outcomes["read"] += 1
        signal.setitimer(signal.ITIMER_PROF, 0)
    file.unlink()
    return outcomes
