from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom
from miniatures import prepared, write_text

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.siim import PNEUMOTHORAX, SiimSource

UID = "1.2.276.0.7230010.3.1.4.8323329"
TWO = f"{UID}.2.1"


def _mini(root: Path, header: str = "ImageId, EncodedPixels", none: str = " -1", side: int = 1024) -> Path:
    """Six images, the second with a mask of two rows, one of them twice; every image below two folders of its own."""
    rows = [f"{UID}.{number}.1,{none}" for number in range(6) if number != 2]
    rows += [f"{TWO}, {10 * 1024 + 5} 3 1021 3", f"{TWO}, 0 2", f"{TWO}, 0 2"]
    write_text(root / "train-rle.csv", "\n".join([header, *rows]))
    for number in range(6):
        pixels = np.full((side, side), 10 * number, np.uint8)
        pixels[0, 0] = 255
        write_dicom(root / f"dicom-images-train/{UID}.{number}.3/{UID}.{number}.2/{UID}.{number}.1.dcm", pixels)
    return root


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
    source = SiimSource(_mini(tmp_path / "siim", header, none), lists)
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
    store = prepared(SiimSource(_mini(tmp_path / "siim"), lists), tmp_path / "store")
    assert len(store) == 6
    row = store.column("study_id").index(TWO)
    assert [region.has_mask for region in store.regions(row)] == [True, True]
    assert not any(store.regions(other) for other in range(6) if other != row)


def test_a_mask_is_not_drawn_on_an_image_of_another_size(tmp_path: Path, lists: PublicConfig) -> None:
    store = prepared(SiimSource(_mini(tmp_path / "siim", side=64), lists), tmp_path / "store")
    assert store.about["quarantined"] == 2
    assert not any(store.regions(row) for row in range(6))


def test_the_split_by_rows_is_refused_and_the_one_by_image_offered(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split 'mgca' of siim cannot be made: it splits rows .*Use --split image"):
        SiimSource(_mini(tmp_path, side=8), PublicConfig(split="mgca"))


def test_the_split_is_by_image(tmp_path: Path) -> None:
    table = "\n".join(["ImageId, EncodedPixels", *(f"{UID}.{number}.1, -1" for number in range(12_047))])
    write_text(tmp_path / "train-rle.csv", table)
    source = SiimSource(tmp_path, tables_only=True)
    splits = [study.split for study in source]
    assert tuple(splits.count(split) for split in ("train", "val", "test")) == SiimSource.rules["image"].sizes
