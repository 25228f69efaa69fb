from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import prepared, write_picture, write_text

from lingula.core.errors import UserError
from lingula.data.sources.ms_cxr import MsCxrConfig, MsCxrSource

HEAD = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height"
A, B = "files/p10/p10000032/s50414267/a.jpg", "files/p11/p11000011/s51029426/b.jpg"
ROWS = [
    f"a,Pneumothorax,small left apical pneumothorax,{A},2,3,4,5,16,20",
    f'a,Atelectasis,"atelectasis, left base",{A},8,10,6,6,16,20',
    f'a,Atelectasis,"atelectasis, left base",{A},1,10,6,6,16,20',
    f"b,Edema,pulmonary edema,{B},0,0,16,20,16,20",
]


def _table(root: Path, split: tuple[str, ...] = ()) -> Path:
    head = HEAD + (",split" if split else "")
    rows = [f"{row},{word}" for row, word in zip(ROWS, split, strict=True)] if split else ROWS
    write_text(root / f"MS_CXR_Local_Alignment_v1.{int(bool(split))}.0.csv", "\n".join([head, *rows]))
    return root


def _pictures(root: Path) -> Path:
    for path in (A, B):
        write_picture(root / path)
    return root


def test_the_published_layout_beside_its_images(tmp_path: Path) -> None:
    source = MsCxrSource(_pictures(_table(tmp_path / "in")))
    store = prepared(source, tmp_path / "store", size=20)
    assert store.column("split") == ["test", "test"]
    first = store.regions(store.column("study_id").index("a"))
    assert [region.phrase for region in first] == ["small left apical pneumothorax"] + ["atelectasis, left base"] * 2
    assert first[0].box == (2 + 2, 3, 6 + 2, 8)
    study = next(iter(source))
    assert study.patient_id == "p10000032"
    assert study.labels == {"Atelectasis": 1, "Pneumothorax": 1}


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    images = _pictures(tmp_path / "mimic")
    source = MsCxrSource(_table(tmp_path / "in"), MsCxrConfig(images=images))
    assert len(prepared(source, tmp_path / "store")) == 2
    with pytest.raises(UserError, match=r"none of the 2 images of ms-cxr is below"):
        MsCxrSource(tmp_path / "in")


def test_the_split_of_its_second_version(tmp_path: Path) -> None:
    root = _pictures(_table(tmp_path, ("val", "val", "val", "test")))
    assert [study.split for study in MsCxrSource(root, MsCxrConfig(split="published"))] == ["val", "test"]
    assert [study.split for study in MsCxrSource(root)] == ["test", "test"]


def test_a_box_without_numbers(tmp_path: Path) -> None:
    root = _pictures(_table(tmp_path))
    table = root / "MS_CXR_Local_Alignment_v1.0.0.csv"
    write_text(table, table.read_text().replace(",2,3,4,5,", ",2,,4,5,"))
    with pytest.raises(UserError, match="ms-cxr: a: box or size is no number"):
        MsCxrSource(root)
