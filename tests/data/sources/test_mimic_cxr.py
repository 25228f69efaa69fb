from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from miniatures import prepared, write_text
from published.mimic_cxr import STUDIES, dicom, mini, write_reports

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.sources.mimic_cxr import MimicConfig, MimicDicomSource, MimicJpgSource


def test_the_published_layout_with_reports_elsewhere(tmp_path: Path) -> None:
    source = MimicJpgSource(mini(tmp_path / "jpg"), MimicConfig(reports=write_reports(tmp_path / "reports")))
    studies = {study.study_id: study for study in source}
    assert {name: study.split for name, study in studies.items()} == {
        "s50414267": "train",
        "s53189527": "train",
        "s51029426": "val",
        "s58127836": "test",
    }
    first = studies["s50414267"]
    assert first.patient_id == "p10000032"
    assert [image.projection for image in first.images] == ["PA", "lateral"]
    assert first.images[0].path == "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg"
    assert first.report is not None
    assert {"indication", "technique", "comparison", "findings", "impression"} <= set(first.report.sections)
    assert first.report.sections["impression"] == "No acute cardiopulmonary process."
    assert first.report.sections["findings"].startswith("There is no focal consolidation")
    assert first.labels["No Finding"] == 1
    assert studies["s58127836"].labels["Cardiomegaly"] == 0
    assert studies["s58127836"].labels["Enlarged Cardiomediastinum"] == -1
    assert studies["s51029426"].labels == {}
    assert source.skipped["study without a report file"] == 2
    store = prepared(source, tmp_path / "store")
    assert len(store) == 5
    assert sum(bool(store.text(row)) for row in range(len(store))) == 3


def test_an_audit_reads_the_reports_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, reports = mini(tmp_path / "jpg"), write_reports(tmp_path / "reports")
    text = (reports / "files/p10/p10000032/s50414267.txt").read_text()
    write_text(reports / "files/p12/p12000012/s58127836.txt", text)
    words = ["data", "audit", "mimic-cxr-jpg", "--root", str(root)]
    for options, told in (([], "distinct reports: in one split each"), (["--reports", str(reports)], "train and test: 1")):
        with pytest.raises(SystemExit) as left:
            main([*words, *options])
        assert left.value.code == 0
        assert told in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main([*words, "--images", str(root)])
    assert left.value.code == 2


def test_reports_may_lie_in_the_same_tree(tmp_path: Path) -> None:
    source = MimicJpgSource(write_reports(mini(tmp_path)))
    assert sum(study.report is not None for study in source) == 2


def test_dicom_is_listed_by_its_own_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no cxr-record-list.csv \(or .gz\)"):
        MimicDicomSource(mini(tmp_path / "alone", ".dcm"))
    root = dicom(tmp_path / "dcm")
    source = MimicDicomSource(root)
    assert [image.projection for study in source for image in study.images] == ["PA", "lateral", "AP", "lateral", "unknown"]
    assert len(prepared(source, tmp_path / "store")) == 5


def test_a_folder_without_reports_and_a_study_without_a_split(tmp_path: Path) -> None:
    root = mini(tmp_path / "jpg")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no report sSTUDY.txt .*Unpack mimic-cxr-reports.zip"):
        MimicJpgSource(root, MimicConfig(reports=tmp_path / "none"))
    write_text(root / "mimic-cxr-2.0.0-split.csv.gz", "dicom_id,study_id,subject_id,split\nx,50414267,10000032,train\n")
    with pytest.raises(UserError, match=r"study s53189527 is not in the table of splits"):
        MimicJpgSource(root)


def test_ids_may_carry_their_letters(tmp_path: Path) -> None:
    root = mini(tmp_path)
    plain = list(MimicJpgSource(root))
    for path in root.glob("*.csv.gz"):
        text = gzip.decompress(path.read_bytes()).decode()
        for subject, study, *_ in STUDIES:
            text = (
                text.replace(f",{study}", f",s{study}")
                .replace(f"{subject},", f"p{subject},")
                .replace(f",{subject}", f",p{subject}")
            )
        write_text(path, text)
    assert list(MimicJpgSource(root)) == plain
