"""Preparing: images per second and cores used, against one process that rewrites one growing array; what large sets cost.

    .venv/bin/python benchmarks/prepare.py

Sources are phantom radiographs enlarged to 2,500 x 2,048 pixels with noise, as JPEG, a few of them under many names; stored at
256. `growing array` is the loop of M-FLAG's official `ext_data.py`: read, make small, append, save the whole array, for each
image. Its seconds are fitted by a N + b N²; the bytes that it writes follow from the loop. Each way prepares few and many images;
the difference gives the rate, what is left over the start. A volume is an ellipsoid with noise, 512 x 512 x 300 voxels, .nii.gz,
resampled to 2 mm and 192³. Seconds that the processors gave (CPU) compare on a machine that other work shares; those on the clock
do not. The cost model multiplies measured constants; nothing of that size was run.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from scipy.optimize import nnls

from lingula.core.task_pool import LOCAL, Workers
from lingula.data.phantom.source import PhantomSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.readers import to_depth
from lingula.data.sources.csv_table import CsvSource
from lingula.data.study import Picture, Study
from lingula.data.volume_transform import VolumeTransform

ROWS, COLUMNS, STORED, DISTINCT, SHARD = 2500, 2048, 256, 8, 16
SETS = {"MIMIC-CXR": (377_110, "image"), "CT-RATE": (50_188, "volume"), "100 M pairs": (100_000_000, "image")}
WAYS = {"one process": Workers(1), "two processes": Workers(2), "Dask, two workers": Workers(2, LOCAL, "2GiB")}
FEW = 32
"""Images of the small run that tells start from rate."""
FILES_PER_SHARD, STUDIES_PER_SHARD = 4, PrepareConfig().shard_studies


@dataclass(frozen=True)
class Spent:
    """What a piece of work took: seconds on the clock, and of all processors."""

    wall: float
    cpu: float


class WatchedSource(CsvSource):
    """A table whose readers leave the largest memory that their process has taken, in MiB, in a file of its name."""

    def read(self, study: Study, image_index: int) -> Picture:
        """Read one image."""
        picture = super().read(study, image_index)
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        (self.root.parent / f"memory-{os.getpid()}").write_text(str(int(line.split()[1]) / 1024))
        return picture


def measured(work: Callable[[], object]) -> Spent:
    """Call something and say what it took, processes that it started and ended included."""
    begun, before = time.perf_counter(), _cpu()
    work()
    return Spent(time.perf_counter() - begun, _cpu() - before)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def write_images(folder: Path, count: int) -> list[Path]:
    """Write a few distinct radiographs, and links to them until there are enough."""
    source = PhantomSource(DISTINCT, 1, 1, size=512)
    generator = np.random.default_rng(0)
    for number, study in enumerate(list(source)[:DISTINCT]):
        small = Image.fromarray(to_depth(source.read(study, 0).pixels, 8))
        large = np.asarray(small.resize((COLUMNS, ROWS), Image.Resampling.BICUBIC), np.int16)
        pixels = np.clip(large + generator.normal(0, 3, large.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05d}.jpg", quality=95)
    for number in range(DISTINCT, count):
        os.link(folder / f"{number % DISTINCT:05d}.jpg", folder / f"{number:05d}.jpg")
    return [folder / f"{number:05d}.jpg" for number in range(count)]


def growing_array(files: list[Path], out: Path, marks: tuple[int, ...]) -> dict[int, float]:
    """Do what the official script does; CPU seconds at each mark."""
    images: list[np.ndarray] = []
    spent, begun = {}, _cpu()
    for path in files[: max(marks)]:
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("L").resize((STORED, STORED))))
        np.save(out, np.array(images))
        if len(images) in marks:
            spent[len(images)] = _cpu() - begun
    return spent


def law_of(spent: dict[int, float]) -> tuple[float, float]:
    """Fit a N + b N² by least squares, neither of them negative."""
    counts = np.array(list(spent), float)
    (a, b), _ = nnls(np.stack([counts, counts**2], axis=1), np.array(list(spent.values())))
    return float(a), float(b)


def prepare_way(files: list[Path], store: Path, workers: Workers) -> Spent:
    """Prepare some of the images."""
    table = files[0].parent / f"{store.name}.csv"
    table.write_text("\n".join(["image,patient_id", *(f"{path.name},p{n}" for n, path in enumerate(files))]), encoding="utf-8")
    settings = PrepareConfig(size=STORED, shard_studies=SHARD)
    return measured(lambda: prepare(WatchedSource(table), store, settings, workers))


def largest_worker(folder: Path) -> float:
    """Return the largest memory of a reader since this was last asked, in MiB."""
    found = list(folder.glob("memory-*"))
    largest = max(float(file.read_text()) for file in found)
    for file in found:
        file.unlink()
    return largest


def volume_seconds(folder: Path) -> float:
    """CPU seconds of reading and resampling one volume."""
    axes = (np.linspace(-1, 1, length, dtype=np.float32) for length in (512, 512, 300))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    voxels = np.where(x**2 + (1.3 * y) ** 2 + 0.1 * z**2 < 0.7, 40, -1000).astype(np.int16)
    voxels += np.random.default_rng(0).normal(0, 20, voxels.shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.75, 0.75, 1.2, 1.0])), folder / "volume.nii.gz")
    return measured(lambda: VolumeTransform()(folder / "volume.nii.gz")).cpu


def bytes_per_image(store: Path, images: int) -> float:
    """What a store takes on the disk per image."""
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file()) / images


def print_costs(seconds: dict[str, float], stored: dict[str, float], law: tuple[float, float]) -> None:
    """Print what large sets cost by the measured constants."""
    print("\n| set | items | CPU-hours | store, GB | files | growing array: CPU-hours | it writes, TB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, (count, kind) in SETS.items():
        cells = [f"{count:,} {kind}s", f"{count * seconds[kind] / 3600:,.0f}", f"{count * stored[kind] / 1e9:,.0f}"]
        cells.append(f"{-(-count // STUDIES_PER_SHARD) * FILES_PER_SHARD + 2:,}")
        if kind == "image":
            cells += [f"{(law[0] * count + law[1] * count**2) / 3600:,.0f}", f"{count * (count + 1) / 2 * STORED**2 / 1e12:,.0f}"]
        else:
            cells += ["-", "-"]
        print(f"| {name} | {' | '.join(cells)} |")


def main(count: int, marks: tuple[int, ...]) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        files = write_images(folder / "images", max(count, *marks))
        print(f"{count} JPEGs of {ROWS} x {COLUMNS} pixels to {STORED}; {SHARD} studies a shard\n")
        print("| way | CPU s per image | start, CPU s | images/s on the clock | cores used | largest worker, MiB |")
        print("| --- | --- | --- | --- | --- | --- |")
        rates = {}
        for number, (way, workers) in enumerate(WAYS.items()):
            few = prepare_way(files[:FEW], folder / f"few-{number}", workers)
            many = prepare_way(files[:count], folder / f"many-{number}", workers)
            rates[way] = (many.cpu - few.cpu) / (count - FEW)
            clock, used = (count - FEW) / (many.wall - few.wall), (many.cpu - few.cpu) / (many.wall - few.wall)
            cells = [f"{rates[way]:.4f}", f"{few.cpu - FEW * rates[way]:.1f}", f"{clock:.1f}", f"{used:.2f}"]
            memory = f"{largest_worker(folder):.0f}"
            print(f"| {way} | {' | '.join(cells)} | {memory if number else '-'} |")
        spent = growing_array(files, folder / "array.npy", marks)
        image, stored = rates["one process"], bytes_per_image(folder / "many-0", count)
        law, volume = law_of(spent), volume_seconds(folder)
    print("\n| images | growing array, CPU s | ours, one process, CPU s | ratio |\n| --- | --- | --- | --- |")
    for number, seconds in spent.items():
        print(f"| {number} | {seconds:.1f} | {number * image:.1f} | {seconds / (number * image):.1f} |")
    print(f"\ngrowing array: {law[0]:.4f} N + {law[1]:.2e} N² CPU seconds; it writes N (N + 1) / 2 images")
    print(f"one image: {image:.4f} CPU seconds, {stored:,.0f} bytes; one volume: {volume:.1f} CPU seconds")
    print_costs({"image": image, "volume": volume}, {"image": stored, "volume": 192.0**3 * 2}, law)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--marks", type=int, nargs="+", default=(100, 200, 400, 800, 1600))
    given = parser.parse_args()
    main(given.images, tuple(given.marks))
