from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import dicom, write_dicom
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.phi import Leak, leaks_of, refuse, warn
from lingula.data.phi_tags import tags_with_phi
from lingula.data.sources.csv_table import CsvSource
from lingula.data.sources.dicom_folder import DicomSource

PIXELS = np.random.default_rng(0).integers(0, 4096, (20, 20), dtype=np.uint16)
SECRETS = ("OKONKWO", "Okonkwo", "MRN-4711", "1977", "St. Elsewhere")


def header(**tags: Any) -> Dataset:
    return dicom(PIXELS, **{"PatientID": "", **tags})


def test_names_dates_and_numbers_of_a_header_are_found() -> None:
    found = tags_with_phi(
        header(
            PatientName="OKONKWO^JANE",
            PatientBirthDate="19770708",
            AccessionNumber="MRN-4711",
            InstitutionName="St. Elsewhere",
            PatientComments="came by bus",
            BurnedInAnnotation="YES",
            Manufacturer="ACME",
        )
    )
    assert found == {
        "PatientName": "name",
        "PatientBirthDate": "date",
        "AccessionNumber": "number",
        "InstitutionName": "place",
        "PatientComments": "remark",
        "BurnedInAnnotation": "text or face",
    }


def test_names_in_sequences_and_private_tags_are_found() -> None:
    inner = Dataset()
    inner.RequestingPhysician = "Okonkwo^A"
    private = header(RequestAttributesSequence=[inner])
    private.add_new((0x0013, 0x1010), "PN", "OKONKWO^B")
    assert tags_with_phi(private) == {"RequestingPhysician": "name", "(0013,1010)": "name"}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_what_a_file_tells_is_found_in_either_encoding_and_nothing_else_is_decoded(syntax: UID, tmp_path: Path) -> None:
    inner = Dataset()
    inner.RequestingPhysician = "Okonkwo^A"
    written = header(
        RequestAttributesSequence=[inner], AccessionNumber="MRN-4711", StudyDate="19770708", StationName="CT1", KVP=120
    )
    written.add_new("OperatorsName", "UN" if syntax == ExplicitVRLittleEndian else "PN", b"OKONKWO^C")
    written.add_new((0x0013, 0x1010), "PN", "OKONKWO^B")
    written.file_meta.TransferSyntaxUID = syntax
    written.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    read = dcmread(tmp_path / "a.dcm")
    private = {"(0013,1010)": "name"} if syntax == ExplicitVRLittleEndian else {}  # implicit: a file does not say what it is
    expected = {"StudyDate": "date", "AccessionNumber": "number", "StationName": "place", "OperatorsName": "name"}
    assert tags_with_phi(read) == {**expected, "RequestingPhysician": "name", **private}
    assert isinstance(read.get_item("KVP"), RawDataElement)


@pytest.mark.parametrize("value", ["", "ANONYMOUS", "Anon^Patient", "REMOVED", "XXXX", "anonymous-12", "None", "___"])
def test_placeholders_are_nobody(value: str) -> None:
    assert tags_with_phi(header(PatientName=value, ReferringPhysicianName=value)) == {}


@pytest.mark.parametrize("value", ["Nora^Anon", "Anonby^A", "Noname^Nadja", "Xxavier^X"])
def test_names_like_placeholders_are_names(value: str) -> None:
    assert tags_with_phi(header(ReferringPhysicianName=value)) == {"ReferringPhysicianName": "name"}


def test_what_is_said_to_be_replaced_does_not_count_but_names_and_pixels_do() -> None:
    tags = {"PatientID": "p17", "StudyDate": "20190302", "PatientName": "p17"}
    assert tags_with_phi(header(**tags)) == {"PatientID": "number", "StudyDate": "date"}
    assert tags_with_phi(header(**tags, PatientIdentityRemoved="YES")) == {}
    kept = header(OperatorsName="Okonkwo", RecognizableVisualFeatures="YES", PatientIdentityRemoved="YES")
    assert tags_with_phi(kept) == {"OperatorsName": "name", "RecognizableVisualFeatures": "text or face"}


@pytest.fixture
def table(make_table: Callable[..., Path]) -> Path:
    texts = ["Seen by Dr. Okonkwo on 03.02.1977 and 04.02.1977.", "Clear.", "No change since 05.05.1977.", ""]
    rows = [
        {"image": f"{number}.png", "text": text, "age": f"{88 + number}", "note": "MRN: MRN-4711" if number == 3 else "ok"}
        for number, text in enumerate(texts)
    ]
    return make_table(rows)


def test_reports_and_kept_columns_of_a_table_are_looked_at(table: Path) -> None:
    assert leaks_of(CsvSource(table)) == [
        Leak("report", "title and name", "name", "0.png"),
        Leak("report", "three numbers", "date", "0.png"),
        Leak("report", "three numbers", "date", "2.png"),
        Leak("column", "age", "age over 89", "2.png"),
        Leak("column", "note", "number", "3.png"),
        Leak("column", "age", "age over 89", "3.png"),
    ]


def test_a_warning_counts_and_tells_neither_files_nor_values(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warn(leaks_of(CsvSource(table)))
    err = capsys.readouterr().err
    assert err.splitlines() == [
        "warning: patients' data by report: name (title and name): 1, date (three numbers): 2; report text is stored as it is",
        "warning: patients' data by column: age over 89 (age): 2, number (note): 1; the store keeps these cells in `extra`",
    ]
    warn([])
    assert capsys.readouterr().err == ""


def test_a_refusal_names_file_and_pattern_but_no_value(table: Path) -> None:
    with pytest.raises(UserError) as refused:
        refuse(leaks_of(CsvSource(table)))
    said = str(refused.value)
    assert said.startswith("3 items hold patients' data: 0.png: name (title and name) in its report; 0.png: date (")
    assert not [secret for secret in SECRETS if secret in said]
    many = [Leak("header", f"Tag{number}", "name", "a.dcm") for number in range(9)]
    with pytest.raises(UserError, match=r"a\.dcm: name \(Tag4\) in its header and 4 other tags or patterns"):
        refuse(many)
    refuse([])


def test_the_commands_warn_by_default_and_refuse_with_exit_code_2(table: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["data", "prepare", "csv", "--table", str(table), "--store", str(tmp_path / "s"), "--size", "16", "--workers", "1"]
    with pytest.raises(SystemExit) as left:
        main([*words, "--strict-phi"])
    assert left.value.code == 2
    assert not (tmp_path / "s").exists()
    main(words)
    out, err = capsys.readouterr()
    assert err.count("warning: ") == 2
    assert "error: 3 items hold patients' data" in err
    assert not [secret for secret in SECRETS if secret in out + err]


def test_dicom_folders_warn_of_headers_and_of_text_in_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "OKONKWO"
    for number in range(3):
        tags = {"PatientName": "OKONKWO^J", "BurnedInAnnotation": "YES" if number else "NO"}
        write_dicom(root / f"{number}.dcm", PIXELS + number, SOPInstanceUID=f"1.2.{number}", **tags)
    words = ["data", "prepare", "dicom", "--root", str(root), "--store", str(tmp_path / "s"), "--size", "16", "--workers", "1"]
    main(words)
    err = capsys.readouterr().err
    assert "warning: patients' data by header: name (PatientName): 3, number (PatientID): 3; headers are not stored" in err
    assert "warning: patients' data by pixels: text or face (BurnedInAnnotation): 2; pixels are stored as they are" in err
    assert "OKONKWO" not in err
    with pytest.raises(SystemExit):
        main([*words[:-4], "--size", "16", "--store", str(tmp_path / "t"), "--strict-phi"])
    assert (
        "0.dcm: name (PatientName) in its header; 0.dcm: number (PatientID) in its header; 1.dcm: text or face"
        in capsys.readouterr().err
    )


def test_leaks_stay_out_of_settings_and_do_not_travel_to_workers(tmp_path: Path) -> None:
    for name, tags in {"a": {"PatientName": "OKONKWO^J"}, "b": {}}.items():
        write_dicom(tmp_path / name / "0.dcm", PIXELS, SOPInstanceUID="1.2.0", **tags)
    named, plain = (DicomSource(tmp_path / name) for name in "ab")
    assert named.settings()["sha256"] == plain.settings()["sha256"]
    assert named.leaks
    assert named.__getstate__()["leaks"] == []
