"""Crops per second: from the store of CT volumes against NIfTI.

    .venv/bin/python benchmarks/volume_loading.py

Volumes are phantom patients rendered at 3 mm, interpolated to 512 x 512 x 300 voxels with fresh noise, as large as clinical ones.
Every way ends with the same random crops in [-1, 1]. Files are read from a warm page cache; one thread; the ways take turns; the
table shows medians of one run and the ratio to .nii.gz through nibabel, which is what CT-RATE and its peers are kept in.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import torch

from lingula.data.phantom.patient import sample_patient
from lingula.data.phantom.render import CT_NOISE, render_scan
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.sources.csv_volumes import CsvVolumeSource
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_grid import resample
from lingula.data.volume_store import VolumeStore

SHAPE = (512, 512, 300)


def write_sources(folder: Path, count: int) -> Path:
    """Write volumes as .nii.gz and as .nii, and a table of the former."""
    generator = np.random.default_rng(0)
    for number in range(count):
        scan = render_scan(sample_patient(0, "train", number, 0), 3.0)
        extent = np.array(scan.volume.voxels.shape) * scan.volume.spacing
        fine = resample(scan.volume, (extent / SHAPE * (1 - 1e-9)).tolist())
        noise = generator.standard_normal(fine.voxels.shape, dtype=np.float32) * CT_NOISE
        hounsfield = np.clip(fine.voxels + noise, -1024, 3071).astype(np.int16)
        for suffix in ("nii.gz", "nii"):
            nibabel.save(nibabel.Nifti1Image(hounsfield, fine.affine), folder / f"{number}.{suffix}")
    lines = ["image,patient_id", *(f"{number}.nii.gz,p{number}" for number in range(count))]
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "table.csv"


def crop_of_nifti(path: Path, start: np.ndarray, side: int) -> torch.Tensor:
    """What has to be done each time without a store."""
    x, y, z = (slice(int(first), int(first) + side) for first in start)
    values = np.asarray(nibabel.load(path).dataobj[x, y, z], np.float32)  # type: ignore[attr-defined]
    return torch.from_numpy(np.clip(values, -1000, 1000) / 1000)


def timed(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Median crops per second of each way, the ways taking turns."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            crops = way()
            if turn:
                speeds[name].append(crops / (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in speeds.items()}


def main(count: int, rounds: int) -> None:
    """Print a table per size of crops."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = CsvVolumeSource(write_sources(folder, count))
        store = VolumeStore.open(prepare(source, folder / "store", PrepareVolumesConfig(), workers=1).store)
        sizes = {suffix: sum(file.stat().st_size for file in folder.glob(f"*.{suffix}")) for suffix in ("nii.gz", "nii")}
        sizes["blosc2"] = sum(file.stat().st_size for file in store.path.rglob("*.b2nd"))
        said = ", ".join(f"{suffix} {size / count / 1e6:.0f} MB" for suffix, size in sizes.items())
        print(f"{count} volumes of {' x '.join(map(str, store.shape(0)))} voxels; per volume {said}; {rounds} rounds, one thread")
        for side in (96, 192):
            crops, generator = VolumeCrop(VolumeCropConfig(size=side)), np.random.default_rng(1)
            starts = [generator.integers(0, np.array(store.shape(row)) - side + 1) for row in range(count)]

            def stored(crops: VolumeCrop = crops) -> int:
                for epoch in range(5):
                    crops.train(store, range(count), [(0, epoch, str(row)) for row in range(count)])
                return 5 * count

            def nifti(suffix: str, starts: list[np.ndarray] = starts, side: int = side) -> int:
                return len([crop_of_nifti(folder / f"{row}.{suffix}", start, side) for row, start in enumerate(starts)])

            ways: dict[str, Callable[[], int]] = {
                ".nii.gz, nibabel": lambda: nifti("nii.gz"),
                ".nii, nibabel": lambda: nifti("nii"),
                "store (blosc2)": stored,
            }
            speeds = timed(ways, rounds)
            print(f"\n| crops of {side}³ | crops/s | faster by |\n| --- | --- | --- |")
            for way, speed in speeds.items():
                print(f"| {way} | {speed:.1f} | {speed / speeds['.nii.gz, nibabel']:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.volumes, given.rounds)
