from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import prepared, write_picture, write_text

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.vindr import VindrSource

TENTH = PublicConfig(split="tenth")


def _mini(root: Path, images: int = 20) -> Path:
    """Three readers an image of train, a consensus without reader for test; the first image is read in three ways."""
    labels = {
        "train": ["image_id,rad_id,Cardiomegaly,Nodule/Mass,Other disease,No finding"],
        "test": ["image_id,Cardiomegaly,Nodule/Mass,Other diseases,No finding"],
    }
    boxes = {
        "train": ["image_id,rad_id,class_name,x_min,y_min,x_max,y_max"],
        "test": ["image_id,class_name,x_min,y_min,x_max,y_max"],
    }
    for number in range(images):
        name = f"{number:032x}"
        write_picture(root / f"train/{name}.dicom")
        for reader in range(3):
            heart, nodule = int(number == 0 and reader < 2), int(number == 0 and reader == 2)
            labels["train"].append(f"{name},R{reader},{heart},{nodule},0,{int(not heart and not nodule)}")
            found = "Cardiomegaly,1,2,8,9" if heart else "Nodule/Mass,3,3,5,5" if nodule else "No finding,,,,"
            boxes["train"].append(f"{name},R{reader},{found}")
    write_picture(root / f"test/{'f' * 32}.dicom")
    labels["test"].append(f"{'f' * 32},0,1,1,0")
    boxes["test"].append(f"{'f' * 32},Nodule/Mass,2.5,2.5,6,6")
    for split in ("train", "test"):
        write_text(root / f"annotations/image_labels_{split}.csv", "\n".join(labels[split]))
        write_text(root / f"annotations/annotations_{split}.csv", "\n".join(boxes[split]))
    return root


def test_the_published_layout_by_majority(tmp_path: Path) -> None:
    source = VindrSource(_mini(tmp_path / "in"), TENTH)
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
    root = _mini(tmp_path)
    table = root / "annotations/annotations_test.csv"
    write_text(table, f"{table.read_text()}\nstranger,Cardiomegaly,1,1,2,2")
    with pytest.raises(UserError, match="image stranger has boxes and no labels"):
        VindrSource(root, TENTH)
