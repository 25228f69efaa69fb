from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from ct_volumes import chest
from miniatures import write_text
from published.merlin import mini
from volume_miniatures import SHAPE, prepared_volumes

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.readers import UnreadableImage
from lingula.data.sources.merlin import FINDINGS, MerlinConfig, MerlinSource
from lingula.data.split_audit import audit

ALLOW = MerlinConfig(allow_missing=True)
NAMES = [f"AC42136{scan}e" for scan in range(4)]


def test_the_published_layout(tmp_path: Path) -> None:
    source = MerlinSource(mini(tmp_path / "data"))
    store = prepared_volumes(source, tmp_path / "store", hu_range=None)
    assert (len(store), store.about["quarantined"]) == (4, 0)
    assert store.column("study_id") == NAMES
    assert store.column("split") == ["train", "train", "val", "test"]
    assert store.column("patient_id") == NAMES
    assert store.spacing(0) == pytest.approx((0.5, 0.5, 1.5))
    np.testing.assert_array_equal(store.volume(2).voxels, chest(SHAPE, seed=2)[::-1, ::-1])
    assert dict(store.column("sections")[1]) == {
        "findings": f"Liver of {NAMES[1]}: <DELETED> normal, < 3 cm.",
        "impression": "1. Scan 1.",
    }


def test_not_mentioned_is_unknown_and_a_scan_without_findings_has_none(tmp_path: Path) -> None:
    source = MerlinSource(mini(tmp_path))
    for scan, study in enumerate(source):
        known = {finding: value for finding, value in study.labels.items() if value is not None}
        assert known == ({} if scan == 2 else {FINDINGS[scan]: 1, FINDINGS[scan + 1]: 0})
        assert set(study.labels) == (set() if scan == 2 else set(FINDINGS))
    assert len(FINDINGS) == len(set(FINDINGS)) == 30
    assert source.skipped["study without findings in their table"] == 1


def test_of_two_reports_of_a_scan_the_longer_counts(tmp_path: Path) -> None:
    source = MerlinSource(mini(tmp_path))
    report = next(iter(source)).report
    assert report is not None
    assert report.sections["impression"] == "1. Scan 0."
    assert source.skipped["shorter report of a study that has two"] == 1
    assert len(source) == 4


@pytest.mark.parametrize("form", ["csv", "study_id", "nii"])
def test_the_tables_may_come_in_other_forms(tmp_path: Path, form: str) -> None:
    expected = list(MerlinSource(mini(tmp_path / "a")))
    root = mini(tmp_path / "b", ending=".nii" if form == "nii" else ".nii.gz", reports="reports_final.csv")
    for name in ("reports_final.csv", "zero_shot_findings_disease_cls.csv", "metadata.csv"):
        path = root / name
        if form == "study_id":
            path.write_bytes(path.read_bytes().replace(b"study id", b"study_id"))
    source = MerlinSource(root)
    assert [study.model_copy(update={"images": []}) for study in source] == [
        study.model_copy(update={"images": []}) for study in expected
    ]
    assert {Path(image.path).suffix for study in source for image in study.images} == {".nii" if form == "nii" else ".gz"}


def test_what_is_known_of_a_scan_is_kept_where_it_is_known(tmp_path: Path) -> None:
    root = mini(tmp_path)
    studies = list(MerlinSource(root))
    assert studies[0].extra == {"phase": "Portal venous", "manufacturer": "M", "kvp": "120"}
    assert studies[3].extra == {}
    (root / "metadata.csv").unlink()
    (root / "zero_shot_findings_disease_cls.csv").unlink()
    source = MerlinSource(root)
    assert [(study.extra, study.labels) for study in source] == [({}, {})] * 4
    assert source.skipped["table of findings (zero_shot_findings_disease_cls.csv) that is not there"] == 1


def test_findings_of_two_rows_that_differ_are_unknown(tmp_path: Path) -> None:
    root = mini(tmp_path)
    table = root / "zero_shot_findings_disease_cls.csv"
    lines = table.read_text().splitlines()
    assert lines[1].startswith(f"{NAMES[0]},1,0,-1")
    write_text(table, "\n".join([lines[0], lines[1].replace(",1,0,-1", ",,0,-1", 1)]))
    assert next(iter(MerlinSource(root))).labels[FINDINGS[0]] is None  # blank is not mentioned, too
    write_text(table, "\n".join([*lines, lines[2], lines[1].replace(",1,0,-1", ",1,1,-1", 1)]))
    source = MerlinSource(root)
    labels = next(iter(source)).labels
    assert (labels[FINDINGS[0]], labels[FINDINGS[1]]) == (1, None)
    assert source.skipped["row that repeats another one"] == 1
    assert source.skipped["second row of a study's findings; where the two differ, the finding is unknown"] == 1


def test_patients_are_told_by_a_named_column_only(tmp_path: Path) -> None:
    root = mini(tmp_path)
    assert "Patients are not told" in MerlinSource(root).notes[0]
    with pytest.raises(
        UserError, match=r"no column 'person' in reports_final.xlsx or metadata.csv .*metadata.csv has study id, Age"
    ):
        MerlinSource(root, MerlinConfig(patient_column="person"))
    table = root / "metadata.csv"
    write_text(table, table.read_text().replace("Age", "person").replace(",51,", ",50,"))
    source = MerlinSource(root, MerlinConfig(patient_column="person"))
    assert [study.patient_id for study in source] == ["50", "50", "52", NAMES[3]]
    assert source.skipped["study without 'person', taken for a patient of its own"] == 1
    assert source.notes == ()
    source.check_apart()
    write_text(table, table.read_text().replace(",52,", ",50,"))
    leaking = MerlinSource(root, MerlinConfig(patient_column="person"))
    assert audit(leaking).patients == {("train", "val"): 1}
    with pytest.raises(UserError, match=r"split 'official' of merlin puts 1 patients into two splits\. Use --split patient, or"):
        leaking.check_apart()
    mended = MerlinSource(root, MerlinConfig(patient_column="person", split="patient"))
    assert len({study.split for study in mended if study.patient_id == "50"}) == 1
    mended.check_apart()
    with pytest.raises(UserError, match=r"split 'patient' of merlin needs to know the patients\. Name their --patient-column"):
        MerlinSource(root, MerlinConfig(split="patient"))
    lines = table.read_text().splitlines()
    write_text(table, "\n".join([*lines, lines[1].replace(",50,", ",77,")]))
    with pytest.raises(UserError, match=rf"study {NAMES[0]} has two patients in 'person'"):
        MerlinSource(root, MerlinConfig(patient_column="person"))


def test_a_row_without_a_study_is_left_out(tmp_path: Path) -> None:
    root = mini(tmp_path, reports="reports_final.csv")
    table = root / "reports_final.csv"
    write_text(table, f"{table.read_text()},Nothing said.,test,\n")
    source = MerlinSource(root)
    assert len(source) == 4
    assert source.skipped["row without a study"] == 1


def test_half_a_download(tmp_path: Path) -> None:
    root = mini(tmp_path)
    (root / f"merlin_data/{NAMES[3]}.nii.gz").unlink()
    with pytest.raises(UserError, match=rf"1 of 4 images of merlin are missing \(first: 'merlin_data/{NAMES[3]}.nii.gz'"):
        MerlinSource(root)
    source = MerlinSource(root, ALLOW)
    assert [study.study_id for study in source] == NAMES[:3]
    assert source.skipped["image that is missing"] == 1


def test_a_wrong_root_and_tables_of_another_version(tmp_path: Path) -> None:
    write_text(tmp_path / "empty/report_final.csv", "a\n")
    with pytest.raises(
        UserError, match=r"no reports_final.xlsx or reports_final.csv \(or .gz\) in .*Did you mean 'report_final.csv'"
    ):
        MerlinSource(tmp_path / "empty")
    root = mini(tmp_path / "data", reports="reports_final.csv")
    reports, labels = root / "reports_final.csv", root / "zero_shot_findings_disease_cls.csv"
    for table, old, new in (
        (reports, "Split", "Splits"),
        (reports, "study id", "StudyID"),
        (labels, "renal_cyst", "renal_cysts"),
    ):
        text = table.read_text()
        write_text(table, text.replace(old, new, 1))
        with pytest.raises(UserError, match=rf"has no column '{old}' \(as merlin publishes it\). Did you mean '{new}'"):
            MerlinSource(root)
        write_text(table, text)
    write_text(labels, labels.read_text().replace(f"{NAMES[0]},1,", f"{NAMES[0]},2,"))
    with pytest.raises(UserError, match=r"submucosal_edema is '2', not 1, 0 or -1"):
        MerlinSource(root)


def test_a_worker_reads_with_little(tmp_path: Path) -> None:
    source = MerlinSource(mini(tmp_path))
    study = next(iter(source))
    data = pickle.dumps(source)
    assert NAMES[1].encode() not in data
    copy = pickle.loads(data)
    np.testing.assert_array_equal(copy.read(study, 0).volume.voxels, chest(SHAPE, seed=0))
    (tmp_path / study.images[0].path).write_bytes(b"nothing")
    with pytest.raises(UnreadableImage):
        copy.read(study, 0)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = mini(tmp_path / "data")
    main(["data", "prepare", "merlin", "--root", str(root), "--store", str(tmp_path / "s"), "--workers", "1"])
    out = capsys.readouterr().out
    assert "4 images, 4 images with text, 4 studies, 4 patients" in out
    assert "known: Patients are not told" in out
    with pytest.raises(SystemExit) as left:
        main(["data", "audit", "merlin", "--root", str(root), "--tables-only", "--patient-column", "Age"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "published are 15,314 / 5,055 / 5,125 images" in out
    assert "Patients are not told" not in out
