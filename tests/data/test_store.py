from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lingula.core.errors import UserError
from lingula.data import store as store_module
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store

MakeTable = Callable[..., Path]


@pytest.fixture
def store(twelve: Path, tmp_path: Path) -> Store:
    prepare(CsvSource(twelve), tmp_path / "store", PrepareConfig(size=40, shard_studies=5), workers=1)
    return Store.open(tmp_path / "store")


def test_pixels_are_those_of_the_file_across_shards(store: Store, twelve: Path) -> None:
    for row, path in enumerate(store.column("path")):
        square = store.pixels(row)
        assert square.shape == (40, 40)
        np.testing.assert_array_equal(square[:, 5:35], np.asarray(Image.open(twelve.parent / path)))
        assert not square[:, :5].any()
        assert not square.flags.writeable


def test_few_memory_maps_stay_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "OPEN_SHARDS", 2)
    kept = store.pixels(0)
    before = kept.copy()
    for row in [0, 11, 5, 0, 6, 11]:
        store.pixels(row)
    assert list(store._pixels) == [1, 2]
    np.testing.assert_array_equal(kept, before)


@pytest.mark.parametrize("row", [-1, 12])
def test_a_row_that_is_not_there(store: Store, row: int) -> None:
    with pytest.raises(IndexError):
        store.pixels(row)


def test_rows_by_split_and_text(store: Store) -> None:
    assert len(store) == 12
    assert store.rows().tolist() == list(range(12))
    assert store.rows("val").tolist() == [2, 3, 8, 9]
    assert store.rows(with_text=True).tolist() == [1, 3, 5, 7, 9, 11]
    assert store.rows("val", with_text=False).tolist() == [2, 8]
    assert store.rows(with_text=True, sections=["impression"]).tolist() == []
    assert store.rows("test", with_text=True, sections=["impression", "text"]).tolist() == [5, 11]


def test_text_by_sections(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table([{"image": "0.png", "findings": "Clear.", "impression": "Normal."}, {"image": "1.png"}])
    prepare(CsvSource(table), tmp_path / "store", PrepareConfig(size=32), workers=1)
    store = Store.open(tmp_path / "store")
    assert store.text(0) == "Clear.\n\nNormal."
    assert store.text(0, ["impression"]) == "Normal."
    assert store.text(0, ["impression", "findings", "technique"]) == "Normal.\n\nClear."
    assert store.text(1) == ""


def test_labels_equal_the_slow_way(store: Store) -> None:
    assert store.findings == ["Effusion", "Nodule"]
    rows = [7, 0, 2, 2, 11]
    slow = [[store.column("labels")[row].get(name, np.nan) for name in ("Nodule", "Effusion")] for row in rows]
    found = store.labels(rows, ["Nodule", "Effusion"])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(slow, dtype=np.float32))
    assert np.isnan(found).any()
    assert store.labels([], ["Nodule"]).shape == (0, 1)
    with pytest.raises(UserError, match=r"no label 'Nodul'.*Did you mean 'Nodule'"):
        store.labels([0], ["Nodul"])


def test_uncertain_and_unmentioned_are_nan(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table([{"image": f"{number}.png", "Edema": value} for number, value in enumerate(["1", "0", "-1", ""])])
    prepare(CsvSource(table, config=CsvConfig(finding_columns=("Edema",))), tmp_path / "store", PrepareConfig(size=32), workers=1)
    store = Store.open(tmp_path / "store")
    assert store.labels(range(4), ["Edema"])[:, 0].tolist() == pytest.approx([1, 0, np.nan, np.nan], nan_ok=True)
    assert [labels["Edema"] for labels in store.column("labels")] == [1, 0, -1, None]


def test_column_names_are_checked(store: Store) -> None:
    assert store.column("patient_id")[:3] == ["p0", "p0", "p1"]
    assert store.column("extra")[1]["age"] == "41"
    with pytest.raises(UserError, match=r"no column 'patient'.*Did you mean"):
        store.column("patient")


def test_a_pickled_store_travels_as_its_path(store: Store) -> None:
    data = pickle.dumps(store)
    assert len(data) < 500
    copy = pickle.loads(data)
    assert copy.fingerprint == store.fingerprint
    np.testing.assert_array_equal(copy.pixels(7), store.pixels(7))


def test_fingerprint_follows_content_not_place(store: Store, twelve: Path, tmp_path: Path) -> None:
    shutil.copytree(store.path, tmp_path / "moved")
    assert Store.open(tmp_path / "moved").fingerprint == store.fingerprint
    Image.fromarray(np.zeros((40, 30), dtype=np.uint8)).save(twelve.parent / "images/03.png")
    prepare(CsvSource(twelve), tmp_path / "other", PrepareConfig(size=40, shard_studies=5), workers=1)
    assert Store.open(tmp_path / "other").fingerprint != store.fingerprint


def _change(path: Path, **values: Any) -> None:
    about = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps(about | values))


def test_what_is_no_store_says_so(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such store"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is not a store"):
        Store.open(tmp_path)
    _change(store.path, version=99)
    with pytest.raises(UserError, match=r"version 99; this lingula reads version 1.*Update lingula"):
        Store.open(store.path)
    _change(store.path, version=0)
    with pytest.raises(UserError, match=r"version 0.*--overwrite"):
        Store.open(store.path)
    (store.path / "store.json").write_text("{")
    with pytest.raises(UserError, match="is not a store's description"):
        Store.open(store.path)
    (store.path / "store.json").unlink()
    with pytest.raises(UserError, match="is unfinished"):
        Store.open(store.path)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_store_says_so(store: Store, damage: str) -> None:
    index = store.path / "shards/00001/index.parquet"
    pixels = store.path / "shards/00001/pixels.npy"
    data = pixels.read_bytes()
    pixels.unlink() if damage == "missing" else pixels.write_bytes(data[:1000])
    with pytest.raises(UserError, match=r"pixels.npy is damaged.*--overwrite"):
        Store.open(store.path).pixels(7)
    content = index.read_bytes()
    index.unlink() if damage == "missing" else index.write_bytes(content[:100])
    with pytest.raises(UserError, match=r"is damaged.*--overwrite"):
        Store.open(store.path)
