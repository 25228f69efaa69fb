from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from miniatures import prepared, write_text
from published.siim import TWO, UID, mini

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.siim import PNEUMOTHORAX, SiimSource

LISTS = {"train": [0, 1, 2, 3], "val": [4], "test": [5]}


@pytest.fixture
def lists(tmp_path: Path) -> PublicConfig:
    for split, numbers in LISTS.items():
        write_text(tmp_path / f"lists/{split}.txt", "\n".join(f"{UID}.{number}.1" for number in numbers))
    return PublicConfig(split_lists=tmp_path / "lists")


@pytest.mark.parametrize(
    ("header", "none"), [("ImageId, EncodedPixels", " -1"), ("ImageId,EncodedPixels", "-1"), ("ImageId, EncodedPixels", "-1")]
)
def test_both_tables_of_the_challenge_and_their_hybrid(tmp_path: Path, lists: PublicConfig, header: str, none: str) -> None:
    source = SiimSource(mini(tmp_path / "siim", header, none), lists)
    studies = {study.study_id: study for study in source}
    assert source.skipped == {"row that repeats another one": 1}
    assert [studies[f"{UID}.{n}.1"].labels[PNEUMOTHORAX] for n in range(6)] == [0, 0, 1, 0, 0, 0]
    picture = source.read(studies[TWO], 0)
    assert picture.problems == []
    union = np.zeros((1024, 1024), bool)
    for mask in picture.masks:
        assert mask is not None
        union |= mask
    expected = np.zeros((1024, 1024), bool)
    expected[5:8, 10] = expected[5:8, 11] = expected[:2, 0] = True
    np.testing.assert_array_equal(union, expected)


def test_masks_come_into_the_store(tmp_path: Path, lists: PublicConfig) -> None:
    store = prepared(SiimSource(mini(tmp_path / "siim"), lists), tmp_path / "store")
    assert len(store) == 6
    row = store.column("study_id").index(TWO)
    assert (store.column("extra")[row], store.column("projection")[row]) == ({"sex": "F", "age": "31", "view": "PA"}, "PA")
    assert [region.has_mask for region in store.regions(row)] == [True, True]
    assert not any(store.regions(other) for other in range(6) if other != row)


def test_a_mask_is_not_drawn_on_an_image_of_another_size(tmp_path: Path, lists: PublicConfig) -> None:
    store = prepared(SiimSource(mini(tmp_path / "siim", side=64), lists), tmp_path / "store")
    assert store.about["quarantined"] == 2
    assert not any(store.regions(row) for row in range(6))


def test_the_split_by_rows_is_refused_and_the_one_by_image_offered(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split 'mgca' of siim cannot be made: it splits rows .*Use --split image"):
        SiimSource(mini(tmp_path, side=8), PublicConfig(split="mgca"))


def test_the_split_is_by_image(tmp_path: Path) -> None:
    table = "\n".join(["ImageId, EncodedPixels", *(f"{UID}.{number}.1, -1" for number in range(12_047))])
    write_text(tmp_path / "train-rle.csv", table)
    source = SiimSource(tmp_path, tables_only=True)
    splits = [study.split for study in source]
    assert tuple(splits.count(split) for split in ("train", "val", "test")) == SiimSource.rules["image"].sizes
