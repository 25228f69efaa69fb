from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import prepared, write_picture, write_text
from published.chexpert import TRAIN, VALID, mini

from lingula.core.errors import UserError
from lingula.data.sources.chexpert import FINDINGS, ChexpertSource


def test_the_published_layout_keeps_all_four_values(tmp_path: Path) -> None:
    source = ChexpertSource(mini(tmp_path / "in"))
    studies = {study.study_id: study for study in source}
    assert set(studies) == {
        "patient00001/study1",
        "patient00002/study2",
        "patient00003/study1",
        "patient64541/study1",
    }
    two = studies["patient00002/study2"]
    assert two.patient_id == "patient00002"
    assert [image.projection for image in two.images] == ["PA", "lateral"]
    assert [two.labels[name] for name in ("No Finding", "Cardiomegaly", "Lung Opacity", "Fracture")] == [None, -1, 1, 1]
    assert studies["patient00001/study1"].labels["No Finding"] == 1
    assert studies["patient00003/study1"].extra == {}
    assert studies["patient00001/study1"].extra == {"sex": "F", "age": "68"}
    assert studies["patient64541/study1"].split == "test"
    assert studies["patient64541/study1"].labels["Fracture"] == 0
    store = prepared(source, tmp_path / "store")
    assert len(store) == 5
    assert store.about["quarantined"] == 0


def test_patients_of_train_take_the_place_of_val(tmp_path: Path) -> None:
    splits = {study.study_id: study.split for study in ChexpertSource(mini(tmp_path))}
    assert {split for name, split in splits.items() if name != "patient64541/study1"} == {"val"}  # 5,000 frontal images: all


def test_reports_of_chexpert_plus_and_its_png_copies(tmp_path: Path) -> None:
    root = mini(tmp_path / "in", packed="CheXpert-v1.0", images=False)
    for name, rows in (("train", TRAIN), ("valid", VALID)):
        for path, *_ in rows:
            write_picture((root / name / path).with_suffix(".png"))
    sections = "section_narrative,section_history,section_findings,section_impression,section_end_of_impression"
    head = f"path_to_image,path_to_dcm,{sections}"
    row = 'train/patient00002/study2/view1_frontal.jpg,x,,"62, cough","Heart size\n is normal.",1. No effusion.,END'
    write_text(root / "df_chexpert_plus_240401.csv", "\n".join([head, row, row.replace("view1_frontal", "view2_lateral")]))
    studies = {study.study_id: study for study in ChexpertSource(root)}
    report = studies["patient00002/study2"].report
    assert report is not None
    assert report.sections == {"history": "62, cough", "findings": "Heart size\n is normal.", "impression": "1. No effusion."}
    assert studies["patient00001/study1"].report is None
    assert studies["patient00001/study1"].images[0].path.endswith(".png")
    assert len(prepared(ChexpertSource(root), tmp_path / "store")) == 5


def test_two_reports_of_one_study_follow_each_other(tmp_path: Path) -> None:
    root = mini(tmp_path)
    rows = [
        f"train/patient00002/study2/view{view}_x.jpg,{said}" for view, said in ((1, "Normal."), (2, "Addendum."), (3, "Normal."))
    ]
    write_text(root / "df_chexpert_plus_240401.csv", "\n".join(["path_to_image,section_impression", *rows]))
    report = next(study.report for study in ChexpertSource(root) if study.study_id == "patient00002/study2")
    assert report is not None
    assert report.sections == {"impression": "Normal.\n\nAddendum."}


def test_labels_of_the_test_set_without_sex_and_view(tmp_path: Path) -> None:
    root = mini(tmp_path)
    path = "test/patient64741/study1/view1_frontal.jpg"
    write_picture(root / path)
    write_text(root / "test_labels.csv", f"Path,{','.join(FINDINGS[1:])}\n{path},{','.join(['1'] + ['0'] * 12)}\n")
    study = {study.study_id: study for study in ChexpertSource(root)}["patient64741/study1"]
    assert study.split == "test"
    assert study.labels["Enlarged Cardiomediastinum"] == 1
    assert study.images[0].projection == "unknown"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.0,,,", "2.0,,,", "'2.0' in column 'No Finding' is no label"),
        ("patient00001/", "p1/", "not the path of a CheXpert image"),
    ],
)
def test_cells_that_are_not_as_published(tmp_path: Path, old: str, new: str, message: str) -> None:
    root = mini(tmp_path)
    table = root / "train.csv"
    write_text(table, table.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        ChexpertSource(root)
