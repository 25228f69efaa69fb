from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lingula.core.errors import UserError
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.study import ImageReference, Picture, Region, Study

MakeTable = Callable[..., Path]
SMALL = PrepareConfig(size=32, shard_studies=5)


class CountingSource:
    """Five studies with regions, read from memory; counts what is read and can break down."""

    name, citation, licence = "counting", "nobody", "CC0"

    def __init__(self, studies: int = 5, break_at: int | None = None) -> None:
        self.studies, self.break_at, self.reads = studies, break_at, 0

    def __len__(self) -> int:
        return self.studies

    def __iter__(self):
        for number in range(self.studies):
            box = Region(finding="nodule", box=(10, 20, 50, 40))
            outside = Region(finding="lost", box=(200, 0, 240, 40))
            images = [ImageReference(path=f"{number}:{view}") for view in range(2)]
            yield Study(study_id=f"s{number}", patient_id=f"p{number}", images=images, regions=[box, outside])

    def settings(self) -> dict[str, object]:
        return {"studies": self.studies}

    def read(self, study: Study, image_index: int) -> Picture:
        self.reads += 1
        if study.study_id == f"s{self.break_at}":
            raise RuntimeError("power cut")
        pixels = np.full((50, 100), int(study.study_id[1:]) + 1, dtype=np.uint8)
        mask = np.zeros((50, 100), dtype=bool)
        mask[10:30, 40:80] = True
        wrong = np.zeros((5, 5), dtype=bool)
        regions = [Region(finding="lung", box=(40, 10, 80, 30)), Region(finding="misfit", box=(0, 0, 5, 5))]
        return Picture(pixels, regions, [mask, wrong])


def _hashes(store: Path) -> dict[str, str]:
    files = sorted(file for file in store.rglob("*") if file.is_file())
    return {str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_two_workers_write_the_very_same_bytes_as_one(twelve: Path, tmp_path: Path) -> None:
    one = prepare(CsvSource(twelve), tmp_path / "one", SMALL, workers=1)
    two = prepare(CsvSource(twelve), tmp_path / "two", SMALL, workers=2)
    assert _hashes(one.store) == _hashes(two.store)
    assert Store.open(one.store).fingerprint == Store.open(two.store).fingerprint
    assert one.counts["all"] == {"images": 12, "images_with_text": 6, "studies": 12, "patients": 6}
    assert one.counts["val"]["images"] == 4
    assert one.findings["Nodule"] == {"present": 6, "absent": 3, "uncertain": 0}


def test_workers_never_import_torch() -> None:
    code = "import sys, lingula.data.prepare, lingula.data.sources.csv_table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_interrupted_preparation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    settings = PrepareConfig(size=16, shard_studies=2)
    with pytest.raises(RuntimeError, match="power cut"):
        prepare(CountingSource(break_at=2), tmp_path / "store", settings, workers=1)
    with pytest.raises(UserError, match=r"is unfinished.*again"):
        Store.open(tmp_path / "store")
    shards = tmp_path / "store" / "shards"
    assert [folder.name for folder in shards.iterdir()] == ["00000"]
    (shards / ".00001.123.partial").mkdir()
    before = {file: file.stat().st_mtime_ns for file in (shards / "00000").iterdir()}
    source = CountingSource()
    summary = prepare(source, tmp_path / "store", settings, workers=1)
    assert (summary.shards_written, summary.shards_kept, source.reads) == (2, 1, 6)
    assert {file: file.stat().st_mtime_ns for file in (shards / "00000").iterdir()} == before
    assert sorted(folder.name for folder in shards.iterdir()) == ["00000", "00001", "00002"]
    prepare(CountingSource(), tmp_path / "whole", settings, workers=1)
    assert _hashes(tmp_path / "store") == _hashes(tmp_path / "whole")


def test_a_finished_store_is_not_touched_again(twelve: Path, tmp_path: Path) -> None:
    prepare(CsvSource(twelve), tmp_path / "store", SMALL, workers=1)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "store").rglob("*")}
    summary = prepare(CsvSource(twelve), tmp_path / "store", SMALL, workers=2)
    assert (summary.shards_written, summary.shards_kept) == (0, 3)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "store").rglob("*")} == before


def test_other_settings_need_another_folder_or_overwrite(twelve: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    prepare(CsvSource(twelve), store, SMALL, workers=1)
    before = _hashes(store)
    with pytest.raises(UserError, match=r"prepared differently \(size: 32 instead of 48\).*--overwrite"):
        prepare(CsvSource(twelve), store, PrepareConfig(size=48, shard_studies=5), workers=1)
    with pytest.raises(UserError, match=r"prepared differently \(columns"):
        prepare(CsvSource(twelve, config=CsvConfig(absent_label="unknown")), store, SMALL, workers=1)
    assert _hashes(store) == before
    prepare(CsvSource(twelve), store, PrepareConfig(size=48, shard_studies=5), workers=1, overwrite=True)
    assert Store.open(store).size == 48


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_store_is_never_touched(twelve: Path, overwrite: bool) -> None:
    before = _hashes(twelve.parent)
    with pytest.raises(UserError, match="is not a store"):
        prepare(CsvSource(twelve), twelve.parent, SMALL, workers=1, overwrite=overwrite)
    with pytest.raises(UserError, match="is a file"):
        prepare(CsvSource(twelve), twelve, SMALL, workers=1, overwrite=overwrite)
    assert _hashes(twelve.parent) == before


def test_bad_images_are_quarantined_and_the_rest_goes_on(twelve: Path, tmp_path: Path) -> None:
    images = twelve.parent / "images"
    whole = (images / "02.png").read_bytes()
    (images / "02.png").write_bytes(whole[: len(whole) // 2])
    (images / "05.png").unlink()
    (images / "07.png").write_text("not an image")
    summary = prepare(CsvSource(twelve), tmp_path / "store", SMALL, workers=2)
    assert summary.quarantined == 3
    assert summary.counts["all"]["images"] == 9
    assert summary.reasons == {"file is truncated": 1, "no such file": 1, "not a PNG, JPEG or DICOM image": 1}
    store = Store.open(tmp_path / "store")
    assert len(store) == 9
    assert store.quarantine.column("path").to_pylist() == ["images/02.png", "images/05.png", "images/07.png"]
    assert store.column("path")[2] == "images/03.png"


def test_a_store_of_broken_images_only_is_finished_but_empty(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table([{"image": "0.png"}])
    (table.parent / "0.png").write_text("nothing")
    assert prepare(CsvSource(table), tmp_path / "store", SMALL, workers=1).quarantined == 1
    with pytest.raises(UserError, match="is empty"):
        Store.open(tmp_path / "store")


def test_contradictions_are_found_before_anything_is_written(make_table: MakeTable, tmp_path: Path) -> None:
    rows = [{"image": "0.png", "patient_id": "p", "split": "train"}, {"image": "1.png", "patient_id": "p", "split": "test"}]
    table = make_table(rows)
    with pytest.raises(UserError, match="'p' is in two splits"):
        prepare(CsvSource(table), tmp_path / "store", SMALL, workers=1)
    assert not (tmp_path / "store").exists()
    summary = prepare(CsvSource(table, config=CsvConfig(split_column="none")), tmp_path / "store", SMALL, workers=1)
    assert sum(summary.counts[split]["patients"] for split in ("train", "val", "test")) == 1


def test_a_blank_split_follows_the_patient(make_table: MakeTable, tmp_path: Path) -> None:
    patients = [f"p{number}" for number in range(30)]
    rows = [{"image": f"{p}{i}.png", "patient_id": p, "split": "test" if i else ""} for p in patients for i in range(2)]
    prepare(CsvSource(make_table(rows)), tmp_path / "store", SMALL, workers=1)
    assert set(Store.open(tmp_path / "store").column("split")) == {"test"}


def test_source_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no study"):
        prepare(CountingSource(studies=0), tmp_path / "store", SMALL, workers=1)
    assert not (tmp_path / "store").exists()


def test_images_regions_and_masks_are_scaled_together(tmp_path: Path) -> None:
    prepare(CountingSource(), tmp_path / "store", PrepareConfig(size=50), workers=1)
    store = Store.open(tmp_path / "store")
    assert len(store) == 10
    row = 3
    assert (store.column("study_id")[row], store.column("row_id")[row]) == ("s1", "s1:1")
    assert [store.column(name)[row] for name in ("height", "width", "scale", "pad_top", "pad_left")] == [50, 100, 0.5, 12, 0]
    assert store.pixels(row)[12:37].tolist() == [[2] * 50] * 25
    assert not store.pixels(row)[:12].any()
    # the box of the study belongs to its first image; the one from reading to every image
    assert [region.finding for region in store.regions(2)] == ["nodule", "lung"]
    assert [region.box for region in store.regions(2)] == [(5, 22, 25, 32), (20, 17, 40, 27)]
    assert [region.finding for region in store.regions(row)] == ["lung"]
    mask = store.mask(row, 0)
    assert mask is not None
    expected = np.zeros((50, 50), dtype=bool)
    expected[17:27, 20:40] = True
    np.testing.assert_array_equal(mask, expected)
    assert store.mask(2, 0) is None
    reasons = store.quarantine.column("reason").to_pylist()
    assert set(reasons) == {"region 'lost' lies outside the image", "mask of 'misfit': not of the image's size"}
    assert len(reasons) == 15


def test_16_bit_images_keep_their_depth(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table([{"image": "0.png"}, {"image": "1.png"}])
    deep = np.random.default_rng(0).integers(0, 4096, (32, 32), dtype=np.uint16)
    deep[0, 0] = 4095
    Image.fromarray(deep).save(table.parent / "0.png")
    prepare(CsvSource(table), tmp_path / "deep", PrepareConfig(size=32, bit_depth=16), workers=1)
    store = Store.open(tmp_path / "deep")
    assert store.pixels(0).dtype == np.uint16
    np.testing.assert_allclose(store.pixels(0), deep * (65535 / 4095), atol=0.5)
    prepare(CsvSource(table), tmp_path / "flat", PrepareConfig(size=32, bit_depth=8), workers=1)
    np.testing.assert_allclose(Store.open(tmp_path / "flat").pixels(0), deep * (255 / 4095), atol=0.5)


def test_fractions_must_sum_to_one() -> None:
    with pytest.raises(UserError, match="sum to 1"):
        PrepareConfig.from_values({"split_fractions": (0.8, 0.1, 0.2)}, "settings")
