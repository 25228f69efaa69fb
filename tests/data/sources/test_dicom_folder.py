from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import write_dicom
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, CTImageStorage, DigitalXRayImageStorageForProcessing

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.describe import describe
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.readers import UnreadableImage
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.dicom_config import DicomConfig
from lingula.data.sources.dicom_folder import DicomSource
from lingula.data.store import Store

SMALL = PrepareConfig(size=32, shard_studies=2)
PIXELS = np.random.default_rng(0).integers(0, 4096, (40, 30), dtype=np.uint16)


def _code(meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeMeaning = meaning
    return [item]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two studies of one patient and one of another, in nested folders, among files that are no radiographs."""
    root = tmp_path / "archive"
    shared: dict[str, Any] = {"BitsStored": 12, "PatientSex": "F", "PatientAge": "054Y", "BodyPartExamined": "CHEST"}
    one = {**shared, "StudyInstanceUID": "1.1", "AccessionNumber": "A1", "PatientID": "p1"}
    write_dicom(root / "a/1.dcm", PIXELS, SOPInstanceUID="1.1.1", ViewPosition="PA", **one)
    write_dicom(root / "a/2", PIXELS + 1, SOPInstanceUID="1.1.2", ViewPosition="LL", BurnedInAnnotation="YES", **one)
    write_dicom(
        root / "b/c/3.dcm", PIXELS + 2, SOPInstanceUID="1.2.1", **{**one, "StudyInstanceUID": "1.2", "AccessionNumber": "A2"}
    )
    code = {"ViewCodeSequence": _code("antero-posterior"), "Modality": None}
    write_dicom(root / "b/4.dcm", PIXELS + 3, SOPInstanceUID="1.3.1", PatientID="p2", StudyInstanceUID="1.3", **shared, **code)
    write_dicom(root / "b/copy.dcm", PIXELS, SOPInstanceUID="1.1.1", **one)
    write_dicom(root / "b/ct.dcm", PIXELS, Modality="CT", SOPClassUID=CTImageStorage)
    write_dicom(root / "b/report.dcm", PIXELS, PixelData=None, Modality="SR", SOPClassUID=BasicTextSRStorage)
    write_dicom(root / "b/raw.dcm", PIXELS, Modality="DX", SOPClassUID=DigitalXRayImageStorageForProcessing)
    write_dicom(root / "b/c/stranger.dcm", PIXELS, StudyInstanceUID="1.2", PatientID="p9")
    (root / "notes.txt").write_text("nothing")
    return root


@pytest.fixture
def make_reports(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        (tmp_path / "reports.csv").write_text(text)
        return tmp_path / "reports.csv"

    return make


def test_studies_patients_projections_and_what_is_left_out(archive: Path) -> None:
    source = DicomSource(archive)
    assert source.skipped == {
        "another patient than in the rest of its study": 1,
        "modality CT": 1,
        "no image: Basic Text SR Storage": 1,
        "not a DICOM file": 1,
        "raw detector image (for processing)": 1,
        "repeats an image (same SOPInstanceUID)": 1,
    }
    studies = {study.study_id: study for study in source}
    assert {name: study.patient_id for name, study in studies.items()} == {"1.1": "p1", "1.2": "p1", "1.3": "p2"}
    assert [(image.path, image.projection) for image in studies["1.1"].images] == [("a/1.dcm", "PA"), ("a/2", "lateral")]
    assert studies["1.3"].images[0].projection == "AP"
    extra = studies["1.1"].extra
    assert {name: extra[name] for name in ("sex", "age", "burned_in_annotation", "body_part")} == {
        "sex": "F",
        "age": "54",
        "burned_in_annotation": "YES",
        "body_part": "CHEST",
    }
    assert extra["defaults"] == "window=range of the image"
    assert "p1" not in str(extra)
    assert pickle.loads(pickle.dumps(source)).settings() == source.settings()


@pytest.mark.parametrize(
    ("table", "texts"),
    [
        ("SOPInstanceUID,findings\n1.1.2,Second.\n9.9,Lost.\n", {"1.1": "Second."}),
        ("study_instance_uid,findings\n1.1,First.\n1.3,Third.\n", {"1.1": "First.", "1.3": "Third."}),
        ("Accession Number,findings\nA2,Other.\n,Blank.\n", {"1.2": "Other."}),
    ],
)
def test_reports_are_joined_on_the_tag_that_the_table_has(
    archive: Path, make_reports: Callable[[str], Path], table: str, texts: dict[str, str]
) -> None:
    source = DicomSource(archive, make_reports(table))
    assert {study.study_id: study.report.text for study in source if study.report} == texts
    assert source.skipped.get("row of the table without an image", 0) == ("9.9" in table)


def test_what_tells_an_image_or_an_order_is_stored_only_where_it_is_asked_for(
    archive: Path, make_reports: Callable[[str], Path]
) -> None:
    table = make_reports("Accession Number,SOPInstanceUID,findings,ward\nA2,1.2.1,Other.,7\n")
    extras = [study.extra for study in DicomSource(archive, table)]
    assert [extra.get("ward") for extra in extras].count("7") == 1
    assert not {"Accession Number", "AccessionNumber", "SOPInstanceUID"} & {name for extra in extras for name in extra}
    asked = CsvConfig(extra_columns=("Accession Number", "SOPInstanceUID"))
    extras = [study.extra for study in DicomSource(archive, table, columns=asked)]
    assert [extra.get("Accession Number") for extra in extras if extra["SOPInstanceUID"] == "1.2.1"] == ["A2"]


def test_the_tables_cells_go_before_the_header_and_the_headers_fill_its_blanks(
    archive: Path, make_reports: Callable[[str], Path]
) -> None:
    table = make_reports("StudyInstanceUID,patient_id,labels,split,view\n1.1,P,Effusion,test,\n1.2,P,,test,AP\n1.3,,Nodule,,\n")
    studies = {study.study_id: study for study in DicomSource(archive, table)}
    assert [studies[name].patient_id for name in ("1.1", "1.2", "1.3")] == ["P", "P", "p2"]
    assert [studies[name].split for name in ("1.1", "1.2", "1.3")] == ["test", "test", None]
    assert studies["1.1"].labels == {"Effusion": 1, "Nodule": 0}
    assert [image.projection for image in studies["1.1"].images] == ["PA", "lateral"]
    assert studies["1.2"].images[0].projection == "AP"


def test_a_table_that_does_not_fit_says_so(archive: Path, make_reports: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match="no column to join on"):
        DicomSource(archive, make_reports("image,findings\na,b\n"))
    with pytest.raises(UserError, match=r"no StudyInstanceUID of table .* occurs.*--join-column"):
        DicomSource(archive, make_reports("StudyInstanceUID,findings\n7,b\n"))
    with pytest.raises(UserError, match="two different rows with the same StudyInstanceUID"):
        DicomSource(archive, make_reports("StudyInstanceUID,findings\n1.1,b\n1.1,c\n"))
    with pytest.raises(UserError, match=r"no column 'txt'"):
        DicomSource(archive, make_reports("StudyInstanceUID,text\n1.1,b\n"), columns=CsvConfig(text_column="txt"))


def test_modalities_body_parts_and_raw_images_are_options(archive: Path) -> None:
    wanted = DicomConfig(modalities=("CT", "DX"), raw_images=True)
    assert sorted(study.images[0].path for study in DicomSource(archive, config=wanted)) == ["b/ct.dcm", "b/raw.dcm"]
    with pytest.raises(UserError, match=r"has no radiograph \(body part CHEST: .*--body-parts"):
        DicomSource(archive, config=DicomConfig(body_parts=("HAND",)))
    with pytest.raises(UserError, match="no such folder"):
        DicomSource(archive / "nowhere")


def test_damaged_files_are_quarantined_and_the_rest_goes_on(archive: Path, tmp_path: Path) -> None:
    whole = (archive / "a/1.dcm").read_bytes()
    (archive / "a/1.dcm").write_bytes(whole[:-500])
    (archive / "a/head.dcm").write_bytes(whole[:300])
    write_dicom(archive / "a/cine.dcm", PIXELS, NumberOfFrames=7, StudyInstanceUID="1.4")
    (archive / "a/broken link.dcm").symlink_to(tmp_path / "nowhere")
    os.mkfifo(archive / "a/pipe.dcm")
    summary = prepare(DicomSource(archive), tmp_path / "store", SMALL, workers=2)
    assert summary.counts["all"]["images"] == 3
    store = Store.open(tmp_path / "store")
    found = dict(zip(*(store.quarantine.column(name).to_pylist() for name in ("path", "reason")), strict=True))
    head = found.pop("a/head.dcm")
    assert "damaged" in head or "no pixel data" in head
    assert found == {
        "a/1.dcm": "file is truncated",
        "a/cine.dcm": "multi-frame: 7 frames",
        "a/broken link.dcm": "no such file",
        "a/pipe.dcm": "is no regular file",
    }
    assert any("Left out" in str(table.title) for table in describe(store))


def test_linked_folders_are_entered_once_even_in_a_circle(archive: Path) -> None:
    before = [study.study_id for study in DicomSource(archive)]
    (archive / "b/loop").symlink_to(archive)
    (archive / "a/self.dcm").symlink_to(archive / "a/self.dcm")
    source = DicomSource(archive)
    assert sorted(study.study_id for study in source) == sorted([*before, "a/self.dcm"])
    (loop,) = (study for study in source if study.study_id == "a/self.dcm")
    with pytest.raises(UnreadableImage, match="run in a circle"):
        source.read(loop, 0)
    outside = archive.parent / "outside"
    write_dicom(outside / "5.dcm", PIXELS, SOPInstanceUID="1.5.1", StudyInstanceUID="1.5")
    (archive / "linked").symlink_to(outside)
    assert [study.images[0].path for study in DicomSource(archive) if study.study_id == "1.5"] == ["linked/5.dcm"]


def test_a_file_name_that_is_no_text_is_left_out(archive: Path) -> None:
    (archive / "a/1.dcm").rename(archive / os.fsdecode(b"a/\xff.dcm"))
    assert DicomSource(archive).skipped["file name is not UTF-8"] == 1


def test_a_border_is_cut_off_where_asked(tmp_path: Path) -> None:
    framed = np.zeros((60, 50), dtype=np.uint16)
    framed[10:50, 10:40] = PIXELS + 300
    write_dicom(tmp_path / "in/a.dcm", framed)
    plain, cropped = (DicomSource(tmp_path / "in", config=DicomConfig(crop_border=crop)) for crop in (False, True))
    (study,) = plain
    assert plain.read(study, 0).pixels.shape == (60, 50)
    np.testing.assert_array_equal(cropped.read(study, 0).pixels, plain.read(study, 0).pixels[10:50, 10:40])
    assert plain.settings() != cropped.settings()


def test_another_header_is_another_source(archive: Path) -> None:
    before = DicomSource(archive).settings()
    write_dicom(archive / "a/1.dcm", PIXELS, SOPInstanceUID="1.1.1", StudyInstanceUID="1.1", PatientID="p1", ViewPosition="AP")
    assert DicomSource(archive).settings() != before


def test_the_command_prints_what_is_left_out(
    archive: Path, make_reports: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_reports("StudyInstanceUID,findings\n1.1,Clear lungs.\n")
    words = f"data prepare dicom --root {archive} --table {table} --store {tmp_path / 'store'} --size 32 --workers 1"
    main([*words.split(), "--body-parts", "CHEST"])
    printed = capsys.readouterr().out
    assert "items of" in printed
    assert "modality CT" in printed
    assert "4 images, 2 images with text, 3 studies, 2 patients" in printed
