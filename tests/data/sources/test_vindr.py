from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import prepared, write_picture, write_text
from published.vindr import mini

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.vindr import VindrSource

TENTH = PublicConfig(split="tenth")


def test_the_published_layout_by_majority(tmp_path: Path) -> None:
    source = VindrSource(mini(tmp_path / "in"), TENTH)
    studies = {study.study_id: study for study in source}
    first, last = studies["0" * 32], studies["f" * 32]
    assert first.labels == {"Cardiomegaly": 1, "Nodule/Mass": -1, "Other diseases": 0, "No finding": 0}
    assert [(region.finding, region.box) for region in first.regions] == [("Cardiomegaly", (1, 2, 8, 9))] * 2
    assert last.labels == {"Cardiomegaly": 0, "Nodule/Mass": 1, "Other diseases": 1, "No finding": 0}
    assert (last.split, [region.finding for region in last.regions]) == ("test", ["Nodule/Mass"])
    assert studies[f"{1:032x}"].labels["No finding"] == 1
    assert [study.split for study in studies.values()].count("val") == 2
    assert len(prepared(source, tmp_path / "store")) == 21


def test_the_kaggle_copy_has_one_table(tmp_path: Path) -> None:
    rows = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    for number in range(10):
        write_picture(tmp_path / f"train/{number}.dicom")
        rows += [f"{number},No finding,14,R{reader},,,," for reader in range(2)]
        rows.append(f"{number},Cardiomegaly,3,R9,1,2,8,9" if number else f"{number},No finding,14,R9,,,,")
    write_text(tmp_path / "train.csv", "\n".join(rows))
    source = VindrSource(tmp_path, TENTH)
    studies = {study.study_id: study for study in source}
    assert studies["0"].labels == {"Cardiomegaly": 0, "No finding": 1}
    assert studies["1"].labels == {"Cardiomegaly": -1, "No finding": 1}
    assert studies["1"].regions == []
    assert {study.split for study in studies.values()} == {"train", "val"}


def test_tables_that_do_not_fit_each_other(tmp_path: Path) -> None:
    root = mini(tmp_path)
    table = root / "annotations/annotations_test.csv"
    write_text(table, f"{table.read_text()}\nstranger,Cardiomegaly,1,1,2,2")
    with pytest.raises(UserError, match="image stranger has boxes and no labels"):
        VindrSource(root, TENTH)
