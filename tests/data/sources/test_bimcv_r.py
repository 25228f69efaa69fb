from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from ct_volumes import chest
from miniatures import write_text
from published.bimcv_r import mini
from volume_miniatures import SHAPE, prepared_volumes, save_volume, write_rows

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.readers import UnreadableImage
from lingula.data.sources import bimcv_r as module
from lingula.data.sources.bimcv_r import BimcvRConfig, BimcvRSource
from lingula.data.split_audit import audit

ALLOW = BimcvRConfig(allow_missing=True)
CONTRADICTED = "sub-S90000_ses-E90000"


def test_the_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 1)
    source = BimcvRSource(mini(tmp_path / "data"))
    store = prepared_volumes(source, tmp_path / "store", hu_range=None)
    assert (len(store), store.about["quarantined"]) == (6, 0)
    assert store.column("study_id")[:2] == ["sub-S00001_ses-E00000", "sub-S00001_ses-E00001"]
    assert store.column("patient_id")[:3] == ["sub-S00001", "sub-S00001", "sub-S00002"]
    np.testing.assert_array_equal(store.volume(4).voxels, chest(SHAPE, seed=4)[::-1, ::-1])
    assert dict(store.column("sections")[3]) == {"text": "No findings 3."}
    studies = list(source)
    assert studies[0].labels == {"covid 19": 1, "ground glass pattern": 1, "nodule": 0, "normal": 0}
    assert studies[1].labels == {"covid 19": 0, "ground glass pattern": 0, "nodule": 0, "normal": 1}
    assert studies[2].labels == {}  # nothing but words that are no findings


def test_a_volume_whose_row_tells_another_patient_keeps_neither_report_nor_findings(tmp_path: Path) -> None:
    source = BimcvRSource(mini(tmp_path))
    (study,) = (each for each in source if each.study_id == CONTRADICTED)
    assert (study.report, study.labels, study.patient_id) == (None, {}, "sub-S90000")
    assert [Path(image.path).name for image in study.images] == [f"{CONTRADICTED}_acq-1_run-1_bp-chest_ct.nii.gz"]
    assert source.skipped["volume whose row tells another patient's report, left without it"] == 1
    assert sum(each.report is not None for each in source) == 5


def test_another_session_of_the_same_patient_is_another_report(tmp_path: Path) -> None:
    root = mini(tmp_path)
    table = root / "meta/BIMCV_meta.csv"
    write_text(table, table.read_text().replace("sub-S00001,ses-E00001,", "sub-S00001,ses-E00000,", 1))
    source = BimcvRSource(root)
    assert source.skipped["volume whose row tells another patient's report, left without it"] == 2
    assert [study.report is None for study in source][:3] == [False, True, False]


def test_rare_findings_are_absent_nowhere(tmp_path: Path) -> None:
    studies = list(BimcvRSource(mini(tmp_path)))
    assert studies[0].labels == {"covid 19": 1, "ground glass pattern": 1}
    assert studies[1].labels == {"normal": 1}


def test_the_table_of_the_authors_code_has_two_columns(tmp_path: Path) -> None:
    full = list(BimcvRSource(mini(tmp_path / "a")))
    source = BimcvRSource(mini(tmp_path / "b", "curated_ct_report_path_En.csv"))
    studies = list(source)
    assert [(study.study_id, study.patient_id, study.images) for study in studies] == [
        (study.study_id, study.patient_id, study.images) for study in full
    ]
    assert [study.report for study in studies[:5]] == [study.report for study in full[:5]]
    assert all(study.labels == {} for study in studies)
    assert studies[-1].report is not None  # nothing tells that it is another patient's
    assert not any("another patient" in reason for reason in source.skipped)


def test_columns_that_are_not_known_are_named_by_the_user(tmp_path: Path) -> None:
    root = mini(tmp_path, "BIMCV-R.csv")
    table = root / "meta/BIMCV-R.csv"
    write_text(table, table.read_text().replace("path,Report_en", "Volume,Text"))
    with pytest.raises(UserError, match=r"has no column ct_path or path. Name it with --image-column; it has Volume, Text"):
        BimcvRSource(root)
    with pytest.raises(UserError, match=r"has no column Volumes. Did you mean 'Volume'. Name it with --image-column"):
        BimcvRSource(root, BimcvRConfig(image_column="Volumes"))
    with pytest.raises(UserError, match=r"has no column Report_en. Name it with --report-column; it has Volume, Text"):
        BimcvRSource(root, BimcvRConfig(image_column="Volume"))
    source = BimcvRSource(root, BimcvRConfig(image_column="Volume", report_column="Text"))
    report = next(iter(source)).report
    assert report is not None
    assert report.text == "No findings 0."
    with pytest.raises(UserError, match=r"'No findings 0.' is no path of BIMCV-R's volumes"):
        BimcvRSource(root, BimcvRConfig(image_column="Text", report_column="Text"))


def test_spanish_reports(tmp_path: Path) -> None:
    report = next(iter(BimcvRSource(mini(tmp_path), BimcvRConfig(report_column="Report")))).report
    assert report is not None
    assert report.text == "sin hallazgos 0 ."


def test_the_volumes_of_a_session_are_one_study_and_one_report(tmp_path: Path) -> None:
    root = mini(tmp_path)
    table = root / "meta/BIMCV_meta.csv"
    lines = table.read_text().splitlines()
    assert "sub-S00002_ses-E00002_run-1" in lines[3]
    write_text(table, "\n".join([*lines, lines[3].replace("_run-1_", "_run-2_")]))
    save_volume(root / "CT_3/ct/sub-S00002_ses-E00002_run-2_bp-chest_ct.nii.gz", chest(SHAPE), np.eye(4))
    source = BimcvRSource(root)
    (study,) = (each for each in source if each.study_id == "sub-S00002_ses-E00002")
    assert [image.path[:7] for image in study.images] == ["CT_1/ct", "CT_3/ct"]
    assert study.report is not None
    assert study.report.text == "No findings 2."


def test_splits_are_by_patient_and_medfinders_cuts_the_table(tmp_path: Path) -> None:
    root = mini(tmp_path, patients=12)
    source = BimcvRSource(root)
    splits = {study.study_id: study.split for study in source}
    assert splits["sub-S00001_ses-E00000"] == splits["sub-S00001_ses-E00001"]
    assert set(splits.values()) == {"train", "val", "test"}
    cut = BimcvRSource(root, BimcvRConfig(split="medfinder"))
    assert [study.split for study in cut] == ["train"] * 11 + ["test"] * 3  # 80 % of 14 rows
    cut.check_apart()
    table = root / "meta/BIMCV_meta.csv"
    lines = table.read_text().splitlines()
    write_text(table, "\n".join([lines[0], *lines[2:], lines[1]]))
    leaking = BimcvRSource(root, BimcvRConfig(split="medfinder"))
    assert audit(leaking).patients == {("train", "test"): 1}
    with pytest.raises(UserError, match=r"puts 1 patients into two splits \(it cuts between rows.*Use --split patient"):
        leaking.check_apart()


def test_half_a_download_a_wrong_root_and_broken_rows(tmp_path: Path) -> None:
    root = mini(tmp_path / "data")
    name = "sub-S00002_ses-E00002_run-1_bp-chest_ct.nii.gz"
    (root / "CT_1/ct" / name).unlink()
    with pytest.raises(UserError, match=rf"1 of 6 images of bimcv-r are missing \(first: '{name}'"):
        BimcvRSource(root)
    assert len(BimcvRSource(root, ALLOW)) == 5
    with pytest.raises(UserError, match=r"no bimcv_meta.csv or curated_ct_report_path_en.csv or bimcv-r.csv .* It holds ct"):
        BimcvRSource(root / "CT_1")
    table = root / "meta/BIMCV_meta.csv"
    lines = table.read_text().splitlines()
    write_text(table, "\n".join([*lines, lines[1]]))
    assert BimcvRSource(root, ALLOW).skipped["row that repeats another one"] == 1
    write_text(table, "\n".join([*lines, lines[1].replace("No findings 0", "Effusion")]))
    with pytest.raises(UserError, match=r"two different rows with ct_path"):
        BimcvRSource(root, ALLOW)
    write_text(table, "\n".join(lines).replace("['normal']", "normal"))
    with pytest.raises(UserError, match=r"bimcv-r: .*run-1_bp-chest_ct.nii.gz: 'normal' in column 'Labels' is no list"):
        BimcvRSource(root, ALLOW)


def test_of_1628_real_rows_every_one_of_the_negative_half_tells_another_patients_report(shared: Path, tmp_path: Path) -> None:
    head, *first = (shared / "data/ct/reports/bimcv_r_val.csv").read_text(encoding="utf-8").splitlines()
    second = (shared / "data/ct/reports/bimcv_r_test.csv").read_text(encoding="utf-8").splitlines()[1:]
    write_text(tmp_path / "BIMCV_meta.csv", "\n".join([head, *first, *second]))
    source = BimcvRSource(tmp_path, tables_only=True)
    assert source.skipped == {"volume whose row tells another patient's report, left without it": 282}
    half = {"/".join(row[source._image].split("/")[4:6]): row for rows in source._sessions.values() for row in rows}
    assert set(half) == {"BIMCV-COVID19-cIter_1_2_3/covid19_posi", "BIMCV-COVID19-cIter_1_2-Negative/covid19_neg"}
    without = {study.study_id for study in source if study.report is None}
    negative = {"_".join(key) for key, rows in source._sessions.items() if "covid19_neg" in rows[0][source._image]}
    assert without == negative
    found = audit(source)
    assert (sum(count["images"] for count in found.counts.values()), found.patients) == (1628, {})
    assert sum(study.labels.get("covid 19") == 1 for study in source) > 300


def test_a_worker_reads_with_little(tmp_path: Path) -> None:
    source = BimcvRSource(mini(tmp_path))
    study = next(iter(source))
    data = pickle.dumps(source)
    assert b"sub-S00002" not in data
    copy = pickle.loads(data)
    np.testing.assert_array_equal(copy.read(study, 0).volume.voxels, chest(SHAPE, seed=0))
    (tmp_path / study.images[0].path).unlink()
    with pytest.raises(UnreadableImage, match=r"no such file"):
        copy.read(study, 0)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = mini(tmp_path / "data", "BIMCV-R.csv")
    write_rows(root / "meta/BIMCV-R.csv", [{"where": "x/sub-S00003_ses-E00003_run-1_bp-chest_ct.nii.gz", "said": "Normal."}])
    own = ["--image-column", "where", "--report-column", "said"]
    main(["data", "prepare", "bimcv-r", "--root", str(root), "--store", str(tmp_path / "s"), "--workers", "1", *own])
    out = capsys.readouterr().out
    assert "1 images, 1 images with text, 1 studies, 1 patients" in out
    assert "left out: 5 × image file without a row in the tables" in out
    with pytest.raises(SystemExit) as left:
        main(["data", "audit", "bimcv-r", "--root", str(root), "--split", "medfinder", *own])
    assert left.value.code == 0
    assert "known leak" in capsys.readouterr().out.lower()
