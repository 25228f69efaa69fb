from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import prepared, write_picture, write_text
from published.covidx import mini

from lingula.core.errors import UserError
from lingula.data.sources.covidx import CovidxSource
from lingula.data.sources.public import PublicConfig


def test_the_published_layout(tmp_path: Path) -> None:
    source = CovidxSource(mini(tmp_path / "covidx"))
    studies = {study.study_id: study for study in source}
    assert len(studies) == 22
    assert source.skipped == {"row that repeats another one": 1}
    assert studies["SARS-10.1148rg fig 8a"].labels == {"COVID-19": 0, "No Finding": 0, "Pneumonia": 1}
    assert studies["SARS-10.1148rg fig 8a"].patient_id == "cohen:3"
    assert studies["other"].patient_id == "bimcv:3"
    assert studies["img0"].labels["No Finding"] == 1
    splits = [study.split for study in studies.values()]
    assert splits.count("test") == 1
    assert 4 <= splits.count("val") <= 6
    assert len(prepared(source, tmp_path / "store")) == 22


def test_the_split_by_image_is_refused_and_the_one_by_patient_offered(tmp_path: Path) -> None:
    source = CovidxSource(mini(tmp_path), PublicConfig(split="mgca"))
    assert [study.split for study in source].count("val") == 5  # a fifth of 21, rounded up
    with pytest.raises(UserError, match=r"split 'mgca' of covidx puts \d patients into two splits \(train is .*--split patient"):
        source.check_apart()


def test_cxr4_has_a_list_of_val_and_two_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        lines = [f"p{split}{number} {split}{number}.jpg {('negative', 'positive')[number % 2]} sirm" for number in range(2)]
        write_text(tmp_path / f"{split}.txt", "\n".join(lines))
        for number in range(2):
            write_picture(tmp_path / f"{split}/{split}{number}.jpg")
    studies = list(CovidxSource(tmp_path))
    assert [study.split for study in studies] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert [study.labels for study in studies[:2]] == [{"COVID-19": 0}, {"COVID-19": 1}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 a.png maybe rsna", r"train_COVIDx9A.txt, line 23: '1 a.png maybe rsna' is not patient, file, class"),
        ("9 img0.png pneumonia rsna", "lists img0.png twice, with different words"),
    ],
)
def test_lines_that_are_not_as_published(tmp_path: Path, line: str, message: str) -> None:
    root = mini(tmp_path)
    path = root / "train_COVIDx9A.txt"
    write_text(path, f"{path.read_text()}\n{line}")
    with pytest.raises(UserError, match=message):
        CovidxSource(root)
