"""The real CT sample goes into a store: nothing is lost, masks and boxes stay where they are in the patient."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_volumes import CsvVolumeSource
from lingula.data.verify import verify
from lingula.data.volume_reader import Volume, from_itk, read_volume, to_itk
from lingula.data.volume_store import VolumeStore


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data/ct"


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make(folder: Path, store: Path, **options: object) -> VolumeStore:
    source = CsvVolumeSource(folder / "ct.csv", config=CsvConfig(boxes_table="boxes3d.csv"))
    summary = prepare(source, store, PrepareVolumesConfig(**options), workers=1)  # type: ignore[arg-type]
    assert summary.quarantined == 0
    assert summary.counts["all"] == {"images": 13, "images_with_text": 11, "studies": 13, "patients": 11}
    return VolumeStore.open(store)


@pytest.fixture(scope="module")
def two_mm(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    return make(folder, tmp_path_factory.mktemp("ct") / "store", spacing=2.0)


def test_as_it_comes_every_voxel_and_mask_is_kept(folder: Path, tmp_path: Path) -> None:
    store = make(folder, tmp_path / "store")
    for row, path in enumerate(store.column("path")):
        given = read_volume(folder / path)
        np.testing.assert_array_equal(store.volume(row).voxels, given.voxels)
        np.testing.assert_allclose(store.affine(row), given.affine, atol=1e-4)
    masks = {row["mask"]: row for row in rows_of(folder / "masks.csv")}
    found = {
        (path, region.finding): store.mask(row, n)
        for row, path in enumerate(store.column("path"))
        for n, region in enumerate(store.regions(row))
    }
    for name, row in masks.items():
        mask = found[row["image"], row["label"]]
        assert mask is not None
        np.testing.assert_array_equal(mask, read_volume(folder / name).voxels > 0)
        assert mask.sum() == int(row["voxels"])
    for row in rows_of(folder / "boxes3d.csv"):
        region = next(r for n, path in enumerate(store.column("path")) if path == row["image"] for r in store.regions(n))
        assert region.box == pytest.approx([float(row[name]) for name in ("x0", "y0", "z0", "x1", "y1", "z1")])
    assert [problem for problem in verify(store) if problem.severity == "error"] == []


def test_masks_keep_their_millilitres_and_land_where_they_were(folder: Path, two_mm: VolumeStore) -> None:
    """Brought back to 3 mm, each mask is what it was; the smallest has 46 voxels, so that its edge is much of its volume."""
    masks = {(row["image"], row["label"]): row["mask"] for row in rows_of(folder / "masks.csv")}
    checked = 0
    for row, path in enumerate(two_mm.column("path")):
        for number, region in enumerate(two_mm.regions(row)):
            mask = two_mm.mask(row, number)
            if mask is None:
                continue
            given = read_volume(folder / masks[path, region.finding])
            before = given.voxels > 0
            volumes = [mask.sum() * np.prod(two_mm.spacing(row)), before.sum() * given.spacing.prod()]
            assert volumes[0] == pytest.approx(volumes[1], rel=0.04 if before.sum() > 100 else 0.15), (path, region.finding)
            stored = to_itk(Volume(mask.astype(np.float32), two_mm.affine(row)))
            after = from_itk(SimpleITK.Resample(stored, to_itk(given))).voxels >= 0.5
            dice = 2 * (before & after).sum() / (before.sum() + after.sum())
            assert dice > 0.95, (path, region.finding, dice)
            checked += 1
    assert checked == 11


def test_boxes_keep_their_corners_in_mm(folder: Path, two_mm: VolumeStore) -> None:
    paths = two_mm.column("path")
    given = rows_of(folder / "boxes3d.csv")
    assert len(given) == 4
    for box in given:
        row = paths.index(box["image"])
        (region,) = two_mm.regions(row)
        assert region.finding == "adenocarcinoma"
        affine = read_volume(folder / box["image"]).affine
        for corner, names in ((region.box[:3], ("x0", "y0", "z0")), (region.box[3:], ("x1", "y1", "z1"))):
            there = affine[:3, :3] @ (np.array([float(box[name]) for name in names]) - 0.5) + affine[:3, 3]
            here = two_mm.affine(row)[:3, :3] @ (np.array(corner) - 0.5) + two_mm.affine(row)[:3, 3]
            np.testing.assert_allclose(here, there, atol=0.01)


def test_random_crops_of_all_volumes_are_parts_of_them(two_mm: VolumeStore) -> None:
    generator = np.random.default_rng(0)
    for row in range(len(two_mm)):
        size = np.minimum(48, two_mm.shape(row))
        start = [int(generator.integers(side - part + 1)) for side, part in zip(two_mm.shape(row), size, strict=True)]
        part = tuple(slice(first, first + side) for first, side in zip(start, size, strict=True))
        np.testing.assert_array_equal(two_mm.crop(row, start, size), two_mm.volume(row).voxels[part])
