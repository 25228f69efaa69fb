from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.verify import verify

MakeTable = Callable[..., Path]


def _store(table: Path, folder: Path) -> Store:
    prepare(CsvSource(table), folder, PrepareConfig(size=40, shard_studies=5), workers=1)
    return Store.open(folder)


def test_a_sound_store_has_no_problem(twelve: Path, tmp_path: Path) -> None:
    assert verify(_store(twelve, tmp_path / "store")) == []


@pytest.mark.parametrize("name", ["pixels.npy", "quarantine.parquet", "shard.json"])
def test_one_changed_byte_is_found(twelve: Path, tmp_path: Path, name: str) -> None:
    store = _store(twelve, tmp_path / "store")
    file = store.path / "shards/00001" / name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    (problem,) = verify(store)
    assert problem.severity == "error"
    assert problem.message == f"shard 00001: {name} has changed"
    file.unlink()
    assert [each.message for each in verify(store)] == [f"shard 00001: {name} is missing"]


def test_pixels_that_do_not_belong_to_their_rows_are_found(twelve: Path, tmp_path: Path) -> None:
    store = _store(twelve, tmp_path / "store")
    store.column("pixel_sha256")[3] = "0" * 64
    assert [each.message for each in verify(store)] == ["1 images do not match their index (first: images/03.png:0)"]


def test_a_stranger_among_the_shards_is_found(twelve: Path, tmp_path: Path) -> None:
    store = _store(twelve, tmp_path / "store")
    shutil.copytree(store.path / "shards/00001", store.path / "shards/00009")
    (problem,) = verify(store)
    assert (problem.severity, problem.message) == ("warning", "shard 00009 does not belong to the store")


def test_leaks_between_splits_are_found(make_table: MakeTable, tmp_path: Path) -> None:
    texts = ["One.", "Two.", "One.", "Two.", "", ""]
    splits = ["train", "train", "test", "val", "train", "test"]
    rows = [
        {"image": f"{number}.png", "patient_id": f"p{number}", "text": text, "split": split}
        for number, (text, split) in enumerate(zip(texts, splits, strict=True))
    ]
    table = make_table(rows)
    shutil.copy(table.parent / "0.png", table.parent / "3.png")
    store = _store(table, tmp_path / "store")
    assert [each.message for each in verify(store)] == [
        "1 images repeat another one (first: 0.png:0, 3.png:0)",
        "1 images are in more than one split (train and val: 1)",
        "2 of 2 distinct texts are in more than one split (test and train: 1, train and val: 1)",
    ]
    store.column("patient_id")[2] = "p0"
    errors = [each.message for each in verify(store) if each.severity == "error"]
    assert errors == ["patient 'p0' is in test and train"]


def test_pixels_are_hashed_as_they_are_stored(twelve: Path, tmp_path: Path) -> None:
    import hashlib

    store = _store(twelve, tmp_path / "store")
    found = [hashlib.sha256(np.ascontiguousarray(store.pixels(row)).tobytes()).hexdigest() for row in range(12)]
    assert found == store.column("pixel_sha256")
