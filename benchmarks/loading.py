"""Images per second: from the store against decoding PNG, JPEG and DICOM each time; and what augmentation costs.

    .venv/bin/python benchmarks/loading.py

Sources are phantom radiographs enlarged to 2,500 x 2,048 pixels with noise, as large as those of the public archives; the store
holds them at 256. Every way ends with the images that the encoder sees at 224. The ways take turns; the table shows medians of
one run and their ratio to the store.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from lingula.core.types import Pixels
from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.data.phantom.source import PhantomSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.readers import fit_square, read_radiograph, to_depth
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store

ROWS, COLUMNS, STORED, SEEN = 2500, 2048, 256, 224


def write_sources(folder: Path, count: int) -> dict[str, list[Path]]:
    """Write the same radiographs as PNG, JPEG, uncompressed DICOM and DICOM with JPEG 2000."""
    source = PhantomSource(count, 1, 1, size=512)
    studies = list(source)[:count]
    files: dict[str, list[Path]] = {"PNG": [], "JPEG": [], "DICOM": [], "DICOM, JPEG 2000": []}
    generator = np.random.default_rng(0)
    for number, study in enumerate(studies):
        small = Image.fromarray(to_depth(source.read(study, 0).pixels, 8))
        large = np.asarray(small.resize((COLUMNS, ROWS), Image.Resampling.BICUBIC), np.int16)
        pixels = np.clip(large + generator.normal(0, 3, large.shape), 0, 255).astype(np.uint8)
        for kind, suffix in (("PNG", "png"), ("JPEG", "jpg")):
            files[kind].append(folder / f"{number}.{suffix}")
            Image.fromarray(pixels).save(files[kind][-1], quality=95)
        for kind, syntax in (("DICOM", ExplicitVRLittleEndian), ("DICOM, JPEG 2000", JPEG2000Lossless)):
            files[kind].append(folder / f"{number}-{syntax.name[:4]}.dcm")
            _dicom(pixels.astype(np.uint16) * 16, syntax == JPEG2000Lossless).save_as(files[kind][-1], enforce_file_format=True)
    return files


def _dicom(pixels: Pixels, compressed: bool) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = "MONOCHROME2", 16, 12, 11
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    if compressed:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    return dataset


def make_store(folder: Path, files: list[Path]) -> Store:
    """Prepare the PNGs."""
    lines = ["image,patient_id", *(f"{path.name},p{number}" for number, path in enumerate(files))]
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    return Store.open(prepare(CsvSource(folder / "table.csv"), folder / "store", PrepareConfig(size=STORED), workers=1).store)


def decode(path: Path) -> Pixels:
    """What has to be done each time without a store."""
    return fit_square(to_depth(read_radiograph(path), 8), STORED)[0]


def timed(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Median images per second of each way, the ways taking turns."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            images = way()
            if turn:
                speeds[name].append(images / (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in speeds.items()}


def main(count: int, rounds: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    transform = ImageTransform(AugmentConfig(), SEEN)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_sources(folder, count)
        store = make_store(folder, files["PNG"])
        rows, many = range(len(store)), range(max(256 // len(store), 1))

        def decoded(paths: list[Path]) -> int:
            return len(transform.evaluate([decode(path) for path in paths]))

        def stored(train: bool) -> int:
            for epoch in many:
                pixels = [store.pixels(row) for row in rows]
                if train:
                    transform.train(pixels, [(0, epoch, row) for row in rows])
                else:
                    transform.evaluate(pixels)
            return len(many) * len(store)

        ways: dict[str, Callable[[], int]] = {kind: lambda p=paths: decoded(p) for kind, paths in files.items()}
        ways |= {"store": lambda: stored(False), "store, augmented": lambda: stored(True)}
        speeds = timed(ways, rounds)
        print(f"{ROWS} x {COLUMNS} pixels to {STORED}, seen at {SEEN}; one thread; median of {rounds} rounds of {count} images\n")
        print("| way | images/s | store is faster by |\n| --- | --- | --- |")
        for kind, speed in speeds.items():
            print(f"| {kind} | {speed:.0f} | {speeds['store'] / speed:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.images, given.rounds)
