from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from miniatures import prepared, write_picture, write_text
from published.indiana import mini

from lingula.core.errors import UserError
from lingula.data.sources.indiana import IndianaSource


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return mini(tmp_path / "in")


def test_the_published_layout(root: Path, tmp_path: Path) -> None:
    source = IndianaSource(root)
    one, two = source
    assert source.skipped == {"report without an image": 1}
    assert (one.study_id, one.patient_id, len(one.images)) == ("CXR1", "CXR1", 2)
    assert one.report is not None
    assert one.report.sections == {"comparison": "None.", "indication": "XXXX pain", "impression": "No acute disease."}
    assert one.labels["No Finding"] == 1
    assert (two.labels["Cardiomegaly"], two.labels["Pneumothorax"], two.labels["No Finding"]) == (1, 0, 0)
    assert two.extra == {"codes": "cardiomegaly/mild"}
    assert len(prepared(source, tmp_path / "store")) == 3


def test_the_archive_is_as_good_as_its_files(root: Path) -> None:
    unpacked = list(IndianaSource(root))
    with tarfile.open(root / "NLMCXR_reports.tgz", "w:gz") as archive:
        archive.add(root / "ecgen-radiology", "ecgen-radiology")
    for path in (root / "ecgen-radiology").iterdir():
        path.unlink()
    assert list(IndianaSource(root)) == unpacked
    (root / "NLMCXR_reports.tgz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be unpacked"):
        IndianaSource(root)


def test_dicom_in_folders_by_report(root: Path) -> None:
    for path in (root / "NLMCXR_png").iterdir():
        path.unlink()
    for name in ("1/1_IM-0001-3001", "1/1_IM-0001-4001", "2/2_IM-0652-1001"):
        write_picture(root / f"NLMCXR_dcm/{name}.dcm")
    paths = [image.path for study in IndianaSource(root) for image in study.images]
    assert paths == [f"NLMCXR_dcm/{name}.dcm" for name in ("1/1_IM-0001-3001", "1/1_IM-0001-4001", "2/2_IM-0652-1001")]


def test_a_damaged_report_is_counted(root: Path) -> None:
    write_text(root / "ecgen-radiology/3.xml", "<eCitation><uId")
    source = IndianaSource(root)
    assert source.skipped["report that is no XML"] == 1
    assert len(source) == 2
