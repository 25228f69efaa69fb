from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom
from miniatures import prepared, rsna, write_picture, write_text
from sklearn.model_selection import train_test_split

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.rsna import PNEUMONIA, RsnaSource


def test_the_published_layout(tmp_path: Path) -> None:
    source = RsnaSource(rsna(tmp_path / "rsna"), PublicConfig(split="mgca-code"))
    store = prepared(source, tmp_path / "store", size=20)
    assert len(store) == 12
    assert source.skipped == {"image file without a row in the tables": 1}
    two = store.column("study_id").index("00000000-0000-0000-0000-000000000000")
    assert [region.box for region in store.regions(two)] == [(5, 5, 12.5, 15), (15, 0, 20, 5)]
    assert {region.finding for region in store.regions(two)} == {PNEUMONIA}
    pneumonia, opacity, normal = store.labels(range(12), [PNEUMONIA, "Lung Opacity", "Normal"]).T
    assert pneumonia.sum() == opacity.sum() == 4
    assert normal.sum() == 4
    assert [bool(store.regions(row)) for row in range(12)] == list(pneumonia == 1)


def test_sex_age_and_view_come_from_the_headers(tmp_path: Path) -> None:
    source = RsnaSource(rsna(tmp_path / "rsna", side=8), PublicConfig(split="mgca-code"))
    study = next(study for study in source if study.study_id.startswith("00000003"))
    assert (study.extra, study.images[0].projection) == ({}, "unknown")
    store = prepared(source, tmp_path / "store")
    rows = {name[:8]: row for row, name in enumerate(store.column("study_id"))}
    assert store.column("extra")[rows["00000003"]] == {"sex": "M", "age": "53", "view": "AP"}
    assert [store.column("projection")[rows[f"{number:08d}"]] for number in (2, 3)] == ["PA", "AP"]
    write_dicom(tmp_path / "rsna" / study.images[0].path, np.zeros((8, 8), np.uint8), PatientAge="093Y", PatientSex="F")
    assert source.read(study, 0).extra == {"sex": "F"}
    (tmp_path / "rsna" / study.images[0].path).unlink()
    copy = (tmp_path / "rsna" / study.images[0].path).with_suffix(".png")
    write_picture(copy)
    with_copy = RsnaSource(tmp_path / "rsna", PublicConfig(split="mgca-code"))
    picture = with_copy.read(next(each for each in with_copy if each.study_id == study.study_id), 0)
    assert (picture.extra, picture.projection) == ({}, "unknown")


def test_a_store_from_before_headers_were_read_says_so_and_asks_to_be_replaced(tmp_path: Path) -> None:
    class Before(RsnaSource):
        headers = False

    root, config = rsna(tmp_path / "rsna", side=8), PublicConfig(split="mgca-code")
    prepared(Before(root, config), tmp_path / "store")
    different = r"store was prepared differently \(headers: nothing instead of 'sex, age, view'\)\. Choose .*--overwrite\."
    with pytest.raises(UserError, match=different):
        prepared(RsnaSource(root, config), tmp_path / "store")
    assert set(prepared(Before(root, config), tmp_path / "store").column("projection")) == {"unknown"}


@pytest.mark.parametrize(("rule", "stratified"), [("mgca-code", False), ("benchx", True)])
def test_splits_are_drawn_as_the_published_code_draws_them(tmp_path: Path, rule: str, stratified: bool) -> None:
    source = RsnaSource(rsna(tmp_path, images=40, side=8), PublicConfig(split=rule))
    studies = {study.study_id: study for study in source}
    names = sorted(studies)
    ill = [studies[name].labels[PNEUMONIA] for name in names]
    seed = 42 if stratified else 0
    train, others, _, strata = train_test_split(
        names, ill, test_size=0.3, random_state=seed, stratify=ill if stratified else None
    )
    first, second = train_test_split(others, test_size=0.5, random_state=seed, stratify=strata if stratified else None)
    val, test = (first, second) if stratified else (second, first)
    for split, members in (("train", train), ("val", val), ("test", test)):
        assert {name for name in names if studies[name].split == split} == set(members)


def test_a_target_that_does_not_fit_its_boxes(tmp_path: Path) -> None:
    root = rsna(tmp_path)
    table = root / "stage_2_train_labels.csv"
    write_text(table, table.read_text().replace(",,,,,0", ",,,,,1", 1))
    with pytest.raises(UserError, match="has target 1 and 0 boxes"):
        RsnaSource(root, PublicConfig(split="benchx"))


def test_png_copies_and_a_missing_table_of_classes(tmp_path: Path) -> None:
    root = rsna(tmp_path, side=8)
    (root / "stage_2_detailed_class_info.csv").unlink()
    for path in (root / "stage_2_train_images").iterdir():
        path.rename(path.with_suffix(".png"))
    source = RsnaSource(root, PublicConfig(split="mgca-code"))
    assert Counter(Path(study.images[0].path).suffix for study in source) == {".png": 12}
    assert {tuple(study.labels) for study in source} == {(PNEUMONIA,)}
