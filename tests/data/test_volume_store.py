from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from ct_volumes import LAS, ChestSource, chest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.core.errors import UserError
from lingula.data import volume_store as volume_store_module
from lingula.data.describe import describe
from lingula.data.open_store import open_store
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.verify import verify
from lingula.data.volume_store import VolumeStore

SHAPES = [(40, 30, 24), (33, 40, 20), (25, 26, 27), (140, 20, 16), (40, 30, 24)]
SETTINGS = PrepareVolumesConfig(shard_studies=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    return VolumeStore.open(prepare(ChestSource(SHAPES), tmp_path_factory.mktemp("ct") / "store", SETTINGS, workers=1).store)


def as_read(row: int) -> np.ndarray:
    """The voxels of a row in RAS: the source's x runs to the left."""
    return chest(SHAPES[row], row)[::-1]


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_volumes_come_back_voxel_by_voxel_in_ras(store: VolumeStore) -> None:
    assert len(store) == 5
    for row in range(5):
        volume = store.volume(row)
        assert volume.voxels.dtype == np.int16
        np.testing.assert_array_equal(volume.voxels, as_read(row))
        assert store.shape(row) == SHAPES[row]
        assert store.spacing(row) == pytest.approx((2, 2.5, 3))
        corner = LAS @ [SHAPES[row][0] - 1, 0, 0, 1]
        np.testing.assert_allclose(volume.affine @ [0, 0, 0, 1], corner)
        np.testing.assert_allclose(np.diag(volume.affine)[:3], [2, 2.5, 3])
        assert store.column("source_orientation")[row] == "LAS"


@settings(max_examples=40, deadline=None)
@given(row=st.integers(0, 4), data=st.data())
def test_a_crop_is_a_part_of_the_volume_and_of_its_masks(store: VolumeStore, row: int, data: st.DataObject) -> None:
    start = [data.draw(st.integers(0, side - 1)) for side in SHAPES[row]]
    size = [data.draw(st.integers(1, side - first)) for first, side in zip(start, SHAPES[row], strict=True)]
    part = tuple(slice(first, first + side) for first, side in zip(start, size, strict=True))
    np.testing.assert_array_equal(store.crop(row, start, size), as_read(row)[part])
    whole = store.mask(row, 1)
    assert whole is not None
    np.testing.assert_array_equal(store.mask(row, 1, start, size), whole[part])


@pytest.mark.parametrize(
    ("start", "size"), [((-1, 0, 0), (4, 4, 4)), ((0, 0, 0), (41, 4, 4)), ((38, 0, 0), (4, 4, 4)), ((0, 0, 0), (0, 4, 4))]
)
def test_a_crop_beyond_the_volume_is_refused(store: VolumeStore, start: tuple, size: tuple) -> None:
    with pytest.raises(ValueError, match=r"is not within a volume of \[40, 30, 24\]"):
        store.crop(0, start, size)


def test_a_crop_reads_only_the_blocks_it_touches(store: VolumeStore) -> None:
    """Row 3 is 140 voxels long, in two chunks: with the second destroyed, the first is still read, and a whole read says so."""
    file = store.path / "shards/00001/volumes/00001.b2nd"
    whole = file.read_bytes()
    middle = len(whole) * 9 // 10
    try:
        fresh = VolumeStore.open(store.path)
        file.write_bytes(whole[:middle] + bytes(len(whole) - middle - 200) + whole[-200:])
        np.testing.assert_array_equal(fresh.crop(3, (0, 0, 0), (32, 20, 16)), as_read(3)[:32])
        with pytest.raises(UserError, match="damaged"):
            fresh.volume(3)
    finally:
        file.write_bytes(whole)


def test_masks_and_boxes_follow_the_axes(store: VolumeStore) -> None:
    for row, shape in enumerate(SHAPES):
        tumour, lung = store.regions(row)
        assert (tumour.finding, tumour.has_mask, lung.finding, lung.has_mask, lung.kind) == (
            "tumour",
            False,
            "lung",
            True,
            "anatomy",
        )
        assert tumour.box == (shape[0] - 8.5, 3, 4, shape[0] - 2, 9, 10)
        assert lung.box == (shape[0] - 14, 10, 6, shape[0] - 8, 15, 16)
        mask = store.mask(row, 1)
        assert mask is not None
        assert mask.dtype == bool
        expected = np.zeros(shape, bool)
        expected[shape[0] - 14 : shape[0] - 8, 10:15, 6:16] = True
        np.testing.assert_array_equal(mask, expected)
        assert store.mask(row, 0) is None


def test_texts_labels_and_splits_are_those_of_any_store(store: VolumeStore) -> None:
    assert store.rows(with_text=True).tolist() == [1, 3]
    assert store.text(3) == "Nodule number 3."
    assert store.labels([0, 1], ["nodule"]).tolist() == [[0], [1]]
    assert store.column("modality") == ["ct"] * 5
    again = pickle.loads(pickle.dumps(store))
    assert isinstance(again, VolumeStore)
    assert again.fingerprint == store.fingerprint


def test_few_files_stay_open(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_store_module, "OPEN_FILES", 2)
    fresh = VolumeStore.open(store.path)
    for row in [0, 1, 2, 0, 4, 1]:
        np.testing.assert_array_equal(fresh.volume(row).voxels, as_read(row))
    assert list(fresh._files) == ["2/0/0", "0/1/0"]


def test_two_workers_write_the_very_same_bytes_as_one_and_a_stop_changes_nothing(store: VolumeStore, tmp_path: Path) -> None:
    prepare(ChestSource(SHAPES), tmp_path / "two", SETTINGS, workers=2)
    assert hashes(tmp_path / "two") == hashes(store.path)
    (tmp_path / "two/store.json").unlink()
    for file in sorted((tmp_path / "two/shards/00001").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (tmp_path / "two/shards/00001").rmdir()
    source = ChestSource(SHAPES)
    summary = prepare(source, tmp_path / "two", SETTINGS, workers=1)
    assert (summary.shards_written, summary.shards_kept, source.reads) == (1, 2, 2)
    assert hashes(tmp_path / "two") == hashes(store.path)


def test_the_declared_grid_is_stored_and_said(tmp_path: Path) -> None:
    settings_ = PrepareVolumesConfig(spacing=(4, 5, 6), hu_range=(-900, 30))
    opened = VolumeStore.open(prepare(ChestSource(SHAPES[:1]), tmp_path / "store", settings_, workers=1).store)
    assert opened.storing.model_dump() == {name: getattr(settings_, name) for name in type(opened.storing).model_fields}
    said = json.loads((tmp_path / "store/store.json").read_text())["settings"]
    assert (said["kind"], said["spacing"], said["hu_range"]) == ("volumes", [4, 5, 6], [-900, 30])
    assert (opened.shape(0), opened.spacing(0)) == ((20, 15, 12), pytest.approx((4, 5, 6)))
    voxels = opened.volume(0).voxels
    assert (voxels.min(), voxels.max()) == (-900, 30)
    assert (opened.column("hu_min")[0], opened.column("hu_max")[0]) == (-900, 30)
    with pytest.raises(UserError, match=r"prepared differently \(spacing: \[4.0, 5.0, 6.0\] instead of None"):
        prepare(ChestSource(SHAPES[:1]), tmp_path / "store", PrepareVolumesConfig(hu_range=(-900, 30)), workers=1)


def test_what_cannot_be_stored_is_quarantined_with_its_reason(tmp_path: Path) -> None:
    shapes = [(40, 30, 24), (40, 30, 2), (40, 30, 24)]
    summary = prepare(ChestSource(shapes, broken=[2]), tmp_path / "store", PrepareVolumesConfig(), workers=1)
    assert len(VolumeStore.open(summary.store)) == 1
    few = (
        "40 x 30 x 2 voxels are too few for a volume (at least 8 along each axis). Leave it out, or allow it with --least-voxels."
    )
    assert summary.reasons == {few: 1, "file is truncated": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hu: hu - 1024, "They fit after adding 1024: the intercept was applied twice."),
        (lambda hu: hu + 1024, "They fit after subtracting 1024: the intercept was not applied."),
    ],
)
def test_a_wrong_rescale_is_quarantined(change, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ct_volumes.chest", lambda *_: change(chest()))
    summary = prepare(ChestSource(SHAPES[:1]), tmp_path / "store", PrepareVolumesConfig(), workers=1)
    assert summary.counts["all"]["images"] == 0
    assert next(iter(summary.reasons)).endswith(reason)
    kept = prepare(ChestSource(SHAPES[:1]), tmp_path / "kept", PrepareVolumesConfig(check_hounsfield=False), workers=1)
    assert kept.counts["all"]["images"] == 1


def test_each_kind_of_store_says_what_it_is(store: VolumeStore, twelve: Path, tmp_path: Path) -> None:
    flat = prepare(CsvSource(twelve), tmp_path / "flat", PrepareConfig(size=16), workers=1).store
    assert isinstance(open_store(store.path), VolumeStore)
    assert isinstance(open_store(flat), Store)
    with pytest.raises(UserError, match=r"holds CT volumes; this needs radiographs. Give a store of radiographs."):
        Store.open(store.path)
    with pytest.raises(UserError, match="holds radiographs; this needs CT volumes"):
        VolumeStore.open(flat)
    mixed = prepare(ChestSource(SHAPES[:1]), tmp_path / "mixed", PrepareConfig(size=16), workers=1)
    assert mixed.reasons == {"a CT volume is no radiograph": 1}
    mixed = prepare(CsvSource(twelve), tmp_path / "other", PrepareVolumesConfig(), workers=1)
    assert mixed.reasons == {"a radiograph is no CT volume": 12}


def test_verify_finds_changed_voxels_and_copies(tmp_path: Path) -> None:
    source = ChestSource([(40, 30, 24)] * 2)
    path = prepare(source, tmp_path / "store", PrepareVolumesConfig(), workers=1).store
    assert verify(VolumeStore.open(path)) == []
    file = path / "shards/00000/volumes/00001.b2nd"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 255
    file.write_bytes(bytes(whole))
    assert [problem.message for problem in verify(VolumeStore.open(path))] == ["shard 00000: volumes/00001.b2nd has changed"]


def test_a_damaged_or_missing_file_is_said(tmp_path: Path) -> None:
    path = prepare(ChestSource(SHAPES[:2]), tmp_path / "store", PrepareVolumesConfig(), workers=1).store
    opened = VolumeStore.open(path)
    (path / "shards/00000/volumes/00000.b2nd").write_bytes(b"nothing")
    (path / "shards/00000/volumes/00001.b2nd").unlink()
    for row in range(2):
        with pytest.raises(UserError, match=rf"0000{row}.b2nd is damaged .*--overwrite"):
            opened.volume(row)


def test_describe_counts_volumes(store: VolumeStore) -> None:
    counts, groups, *_ = describe(store)
    assert counts.title == "chests: 5 CT volumes, RAS, voxels as they came, int16 HU"
    cells = dict(zip(groups.columns[0].cells, groups.columns[-1].cells, strict=True))
    assert cells["finest spacing, mm: range"] == "2-2"
    assert cells["coarsest spacing, mm: median"] == "3"
    assert cells["extent along z, mm: range"] == "48-81"
    assert cells["images with regions"] == "5"
