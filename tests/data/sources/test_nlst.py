from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniatures import write_text
from published.nlst import PREFIX, SERIES, SHAPE, Listed, mini, voxels, write_series
from volume_miniatures import prepared_volumes

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.core.files import sha256_of_file
from lingula.data import split_audit
from lingula.data.sources.nlst import NlstSource
from lingula.data.sources.nlst_tables import CANCER, FINDINGS, cancer_labels, reader_labels
from lingula.data.sources.public import PublicConfig
from lingula.data.study import part_of

ALLOW = PublicConfig(allow_missing=True)
STUDIES = ["100002_19990102", "100002_20000102", "100003_19990102", "200001_19990102"]
ONE, SIX = CANCER.values()


@pytest.mark.parametrize("layout", ["nbia", "idc"])
def test_both_tools_layouts_hold_the_same(tmp_path: Path, layout: str) -> None:
    source = NlstSource(mini(tmp_path / "data", layout))
    assert source.skipped == {"series: localiser": 1}
    store = prepared_volumes(source, tmp_path / "store")
    assert (len(store), store.about["quarantined"]) == (5, 0)
    assert sorted(set(store.column("study_id"))) == STUDIES
    assert store.column("patient_id").count("100002") == 3
    by_study = {study.study_id: study for study in source}
    assert len(by_study[STUDIES[0]].images) == 2
    row = store.column("study_id").index(STUDIES[2])
    np.testing.assert_array_equal(store.volume(row).voxels, voxels(SERIES[4])[::-1, ::-1])  # LPS to RAS, slices sorted
    assert store.spacing(row) == pytest.approx((2, 2, 2.5))
    assert by_study[STUDIES[1]].extra == {"screening": "T1", "sex": "M", "age_at_randomisation": "61"}


def test_labels_are_what_the_reader_saw_and_cancer_after_the_scan(tmp_path: Path) -> None:
    labels = {study.study_id: study.labels for study in NlstSource(mini(tmp_path))}
    present = {name: {each for each, value in found.items() if value == 1} for name, found in labels.items()}
    assert present[STUDIES[0]] == {FINDINGS[51], FINDINGS[59], SIX}  # 495 days before the cancer
    assert present[STUDIES[1]] == {ONE, SIX}  # 130 days; code 64 is no finding here
    assert present[STUDIES[2]] == set()
    assert set(labels[STUDIES[2]].values()) == {0}
    assert labels[STUDIES[3]] == {ONE: 0, SIX: None}  # an inadequate image; followed for 890 days
    assert labels[STUDIES[0]][ONE] == 0


def test_a_cancer_before_the_scan_and_an_unknown_day_leave_all_unknown() -> None:
    person = {"scr_days0": "10", "candx_days": "9", "canc_free_days": ""}
    assert cancer_labels(person, 0) == {ONE: None, SIX: None}
    assert cancer_labels({**person, "candx_days": "10"}, 0) == {ONE: 1, SIX: 1}
    assert cancer_labels({**person, "candx_days": "375"}, 0) == {ONE: 1, SIX: 1}
    assert cancer_labels({**person, "candx_days": "376"}, 0) == {ONE: 0, SIX: 1}
    assert cancer_labels({**person, "candx_days": "2202"}, 0) == {ONE: 0, SIX: 0}
    assert cancer_labels({**person, "scr_days0": ".E"}, 0) == {ONE: None, SIX: None}
    assert cancer_labels({**person, "candx_days": ".N"}, 0) == {ONE: None, SIX: None}
    assert reader_labels({"pid": "1", "scr_iso1": "23"}, 1, {("1", 1): {FINDINGS[51]}}) == {}
    assert sum(reader_labels({"pid": "1", "scr_iso1": "1"}, 1, {("1", 0): {FINDINGS[51]}}).values(), start=0) == 0


def test_without_its_tables_there_are_no_labels(tmp_path: Path) -> None:
    root = mini(tmp_path)
    (root / "nlst_780_ctab_idc_20210527.csv").unlink()
    source = NlstSource(root)
    assert {name for study in source for name in study.labels} == {ONE, SIX}
    (root / "nlst_780_prsn_idc_20210527.csv").unlink()
    source = NlstSource(root)
    assert [(study.labels, "sex" in study.extra) for study in source] == [({}, False)] * 4
    assert source.skipped["table (nlst_*_prsn_idc_*.csv) that is not there"] == 1
    assert source.skipped["table (nlst_*_ctab_idc_*.csv) that is not there"] == 1


def test_participants_that_no_table_knows_and_dates_of_no_screening(tmp_path: Path) -> None:
    root = mini(tmp_path, "idc")
    for series, folder in ((Listed("300001", 0, 2, "C"), "a"), (Listed("100003", 2, 2, "C"), "b")):
        write_series(root / "more" / folder, series, **({"StudyDate": "20091231"} if folder == "b" else {}))
    source = NlstSource(root)
    labels = {study.study_id: (study.labels, study.extra) for study in source}
    assert labels["300001_19990102"] == ({}, {"screening": "T0"})
    assert labels["100003_20091231"] == ({}, {"sex": "M", "age_at_randomisation": "61"})
    assert source.skipped["screening of a participant without a row in the tables"] == 1


def test_series_that_are_not_there_or_only_in_part_are_missing(tmp_path: Path) -> None:
    root = mini(tmp_path)
    shutil.rmtree(root / "manifest-1" / SERIES[4].folder)
    (root / "manifest-1" / SERIES[2].folder / f"1-{SHAPE[2]:03d}.dcm").unlink()
    with pytest.raises(
        UserError, match=r"2 of 5 images of nlst are missing .first: 'manifest-1/NLST/100002/.*B50f.*\(9 of 10 slices\)'"
    ):
        NlstSource(root)
    source = NlstSource(root, ALLOW)
    assert [len(study.images) for study in source] == [1, 1, 1]
    assert source.skipped == {"series: localiser": 1, "image that is missing": 2}


def test_folders_may_be_named_otherwise_than_their_table_says(tmp_path: Path) -> None:
    root = mini(tmp_path)
    expected = list(NlstSource(root))
    for number, series in enumerate(SERIES):
        (root / "manifest-1" / series.folder).rename(root / f"series-{number}")
    source = NlstSource(root)
    assert [study.study_id for study in source] == [study.study_id for study in expected]
    assert source.skipped == {"series: localiser": 1}


def test_the_tables_alone(tmp_path: Path) -> None:
    root = mini(tmp_path)
    shutil.rmtree(root / "manifest-1/NLST")
    listed = {study.study_id: len(study.images) for study in NlstSource(root, tables_only=True)}
    assert listed == dict(zip(STUDIES, (3, 1, 1, 1), strict=True))  # which is a localiser is not told
    with pytest.raises(UserError, match=r"none of the 6 images of nlst is below .*There is no image at all"):
        NlstSource(root)
    (root / "manifest-1/metadata.csv").unlink()
    with pytest.raises(UserError, match=r"no metadata.csv \(or .gz\) in .* or below. It holds manifest-1, nlst_780"):
        NlstSource(root, tables_only=True)
    with pytest.raises(UserError, match=r"no metadata.csv"):
        NlstSource(root)


def test_several_manifests_other_modalities_and_a_series_twice(tmp_path: Path) -> None:
    root = mini(tmp_path)
    write_series(root / "again", SERIES[3])
    (root / "again/1-001.dcm").unlink()
    write_series(root / "seg", Listed("100003", 0, 7, "x"), Modality="SEG")
    table = root / "manifest-1/metadata.csv"
    lines = table.read_text().splitlines()
    write_text(root / "manifest-2/metadata.csv", f"{lines[0]}\n{lines[5].replace(',CT,', ',SR,')}\n{lines[4]}\n")
    source = NlstSource(root)
    assert [len(study.images) for study in source] == [2, 1, 1, 1]
    assert source.skipped == {
        "modality SR": 1,
        "series: localiser": 1,
        "series: modality SEG": 1,
        "series that is there twice": 1,
    }
    assert len(source._slices[next(study for study in source if study.study_id == STUDIES[1]).images[0].path]) == SHAPE[2]


def test_what_is_wrong_with_a_series_quarantines_it_alone(tmp_path: Path) -> None:
    root = mini(tmp_path / "data")
    folders = [root / "manifest-1" / series.folder for series in SERIES]
    (folders[1] / "1-001.dcm").write_bytes(b"nothing")  # the file whose header would have told the series
    (folders[2] / "1-005.dcm").write_bytes((folders[2] / "1-004.dcm").read_bytes())
    for file in folders[3].iterdir():
        file.write_bytes(b"nothing")
    source = NlstSource(root)
    assert source.skipped == {"series: localiser": 1, "series: not a DICOM file": 1}
    store = prepared_volumes(source, tmp_path / "store")
    assert (len(store), store.about["quarantined"]) == (2, 2)


def test_files_without_ids_are_left_out(tmp_path: Path) -> None:
    root = mini(tmp_path, "idc")
    write_series(root / "more", Listed("300001", 0, 2, "C"), PatientID="")
    source = NlstSource(root)
    assert source.skipped["series: without ids of series, study and patient"] == 1
    assert len(source) == 4


def test_folders_may_be_written_as_windows_does(tmp_path: Path) -> None:
    root = mini(tmp_path)
    expected = list(NlstSource(root))
    table = root / "manifest-1/metadata.csv"
    table.write_bytes(table.read_bytes().replace(b"/", b"\\"))
    shutil.rmtree(root / "manifest-1" / SERIES[5].folder)
    with pytest.raises(UserError, match=rf"first: 'manifest-1/{SERIES[5].folder}'"):
        NlstSource(root)
    source = NlstSource(root, ALLOW)
    assert list(source) == expected[:3]
    assert source.skipped["image that is missing"] == 1


def test_rows_of_no_series_and_rows_that_contradict_each_other(tmp_path: Path) -> None:
    root = mini(tmp_path)
    table = root / "manifest-1/metadata.csv"
    head, *lines = table.read_text().splitlines()
    elsewhere = lines[4].replace("./NLST", "./again")
    write_text(table, "\n".join([head, *lines, elsewhere, lines[4].replace(SERIES[4].uid, "")]))
    source = NlstSource(root)
    assert (len(source), source.skipped["row without a series"]) == (4, 1)
    write_text(table, "\n".join([head, *lines, lines[4].replace(",CT,10,", ",CT,11,")]))
    with pytest.raises(UserError, match=rf"metadata.csv of nlst has two different rows of series {SERIES[4].uid}"):
        NlstSource(root)


UNKNOWN = [(",2,59", ",2,"), (",2,59", ",2,none"), (",2,59", ",2,99"), ("100002,0,2,59", "100002,4,2,59")]


@pytest.mark.parametrize(("old", "new"), UNKNOWN)
def test_abnormalities_of_an_unknown_kind_or_screening_are_counted(tmp_path: Path, old: str, new: str) -> None:
    root = mini(tmp_path)
    table = root / "nlst_780_ctab_idc_20210527.csv"
    text = table.read_text()
    assert old in text
    write_text(table, text.replace(old, new))
    source = NlstSource(root)
    assert source.skipped["abnormality whose sct_ab_desc or study_yr is unknown"] == 1
    assert next(study for study in source if study.study_id == STUDIES[0]).labels[FINDINGS[59]] == 0


def test_tables_of_another_version(tmp_path: Path) -> None:
    root = mini(tmp_path)
    people, metadata = root / "nlst_780_prsn_idc_20210527.csv", root / "manifest-1/metadata.csv"
    for table, old, new in ((people, "canc_free_days", "cancer_free_days"), (metadata, "Series UID", "SeriesUID")):
        text = table.read_text()
        write_text(table, text.replace(old, new))
        with pytest.raises(UserError, match=rf"has no column '{old}' .*Did you mean '{new}'"):
            NlstSource(root)
        write_text(table, text)
    lines = people.read_text().splitlines()
    write_text(people, "\n".join([*lines, lines[1]]))
    assert NlstSource(root).skipped["row that repeats another one"] == 1
    write_text(people, "\n".join([*lines, lines[1].replace(",61,", ",62,")]))
    with pytest.raises(UserError, match=r"two different rows with pid '100002'"):
        NlstSource(root)
    write_text(people, "\n".join(lines))
    write_text(metadata, metadata.read_text().replace(",CT,10,", ",CT,ten,"))
    with pytest.raises(UserError, match=rf"Number of Images of series {PREFIX}.100002.0.2 is 'ten'"):
        NlstSource(root)


def test_splits_are_by_participant(tmp_path: Path) -> None:
    source = NlstSource(mini(tmp_path))
    splits = {study.study_id: study.split for study in source}
    assert splits[STUDIES[0]] == splits[STUDIES[1]]
    source.check_apart()


def test_settings_change_with_the_series_and_a_part_knows_its_own_files_only(tmp_path: Path) -> None:
    root = mini(tmp_path, "idc", tables=False)
    source = NlstSource(root)
    study, other = list(source)[:2]
    part = pickle.loads(pickle.dumps(part_of(source, [study])))
    assert part.settings() == source.settings()
    np.testing.assert_array_equal(part.read(study, 1).volume.voxels, source.read(study, 1).volume.voxels)
    with pytest.raises(KeyError):
        part.read(other, 0)
    write_series(root / "more", Listed("300001", 0, 2, "C"))
    assert NlstSource(root).settings() != source.settings()


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = mini(tmp_path / "data")
    main(["data", "prepare", "nlst", "--root", str(root), "--store", str(tmp_path / "s"), "--workers", "1"])
    out = capsys.readouterr().out
    assert "5 images, 0 images with text, 4 studies, 3 patients" in out
    assert "left out: 1 × series: localiser" in out
    with pytest.raises(SystemExit) as left:
        main(["data", "audit", "nlst", "--root", str(root), "--tables-only"])
    assert left.value.code == 0


def test_an_audit_hashes_every_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = mini(tmp_path)
    read: list[Path] = []
    monkeypatch.setattr(split_audit, "sha256_of_file", lambda path: (read.append(path), sha256_of_file(path))[1])
    assert split_audit.audit(NlstSource(root), hash_images=True).images == {}
    assert sorted(read) == sorted(path for path in root.rglob("*.dcm") if SERIES[0].folder not in path.as_posix())


def test_two_series_in_one_folder_are_quarantined(tmp_path: Path) -> None:
    root = mini(tmp_path / "data", "idc")
    kept, moved = (root / f"nlst/100002/{series.study}/CT_{series.uid}" for series in SERIES[1:3])
    for file in moved.iterdir():
        file.rename(kept / f"2{file.name}")
    store = prepared_volumes(NlstSource(root), tmp_path / "store")
    assert (len(store), store.about["quarantined"]) == (3, 1)
