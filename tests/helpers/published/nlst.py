"""NLST as the NBIA Data Retriever or idc-index lay it out, with its clinical tables: five series and a localiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ct_volumes import chest
from dicom_files import write_dicom
from pydicom.uid import CTImageStorage
from volume_miniatures import write_rows

SHAPE = (20, 16, 10)
PREFIX = "1.2.840.113654.2.55"
YEARS = ("19990102", "20000102", "20010102")


class Listed(NamedTuple):
    """One series: participant, screening, number in its study, kernel, whether it is a localiser."""

    pid: str
    year: int
    number: int
    kernel: str
    localiser: bool = False

    @property
    def study(self) -> str:
        return f"{PREFIX}.{self.pid}.{self.year}"

    @property
    def uid(self) -> str:
        return f"{self.study}.{self.number}"

    @property
    def seed(self) -> int:
        return int(self.pid) + 10 * self.year + self.number

    @property
    def date(self) -> str:
        """As the retriever writes it, month first."""
        day = YEARS[self.year]
        return f"{day[4:6]}-{day[6:]}-{day[:4]}"

    @property
    def folder(self) -> str:
        centre = "NLST-LSS" if self.pid < "2" else "NLST-ACRIN"
        name = f"{self.number}.000000-{self.year}OPASEVZOOM{self.kernel}3402.512080.00.0null-8483{self.number}"
        return f"NLST/{self.pid}/{self.date}-{centre}-1640{self.year}/{name}"


SERIES = (
    Listed("100002", 0, 1, "T20s", localiser=True),
    Listed("100002", 0, 2, "B30f"),
    Listed("100002", 0, 3, "B50f"),
    Listed("100002", 1, 2, "B30f"),
    Listed("100003", 0, 2, "STANDARD"),
    Listed("200001", 0, 2, "C"),
)


def mini(root: Path, layout: str = "nbia", tables: bool = True) -> Path:
    """Write the series of `SERIES`, with metadata.csv where the retriever would, and the clinical tables."""
    for series in SERIES:
        folder = series.folder if layout == "nbia" else f"nlst/{series.pid}/{series.study}/CT_{series.uid}"
        write_series(root / ("manifest-1" if layout == "nbia" else "") / folder, series)
    if layout == "nbia":
        write_rows(root / "manifest-1/metadata.csv", [_metadata(series) for series in SERIES])
    if tables:
        people = [_person("100002", iso=(4, 1), days=(5, 370), cancer=500), _person("100003", free=2500)]
        write_rows(root / "nlst_780_prsn_idc_20210527.csv", [*people, _person("200001", iso=(10, ""), free=900, gender=2)])
        seen = ((0, 51), (0, 51), (0, 59), (1, 64))
        rows: list[dict[str, object]] = [
            {"pid": "100002", "study_yr": year, "sct_ab_num": n, "sct_ab_desc": code} for n, (year, code) in enumerate(seen)
        ]
        write_rows(root / "nlst_780_ctab_idc_20210527.csv", rows)
    return root


def voxels(series: Listed) -> np.ndarray:
    """Hounsfield units of a series, `columns rows slices`."""
    return chest(SHAPE, seed=series.seed)


def write_series(folder: Path, series: Listed, **tags: Any) -> None:
    """Write one slice a file, the highest one first; a localiser is a single slice."""
    hu = voxels(series)
    for place in range(1 if series.localiser else SHAPE[2]):
        told = {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": f"{series.uid}.{place}",
            "SeriesInstanceUID": series.uid,
            "StudyInstanceUID": series.study,
            "StudyDate": YEARS[series.year],
            "PatientID": series.pid,
            "Modality": "CT",
            "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER" if series.localiser else "AXIAL"],
            "ConvolutionKernel": series.kernel,
            "ImagePositionPatient": ["-20.0", "-16.0", f"{-2.5 * place:.1f}"],
            "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            "PixelSpacing": [2.0, 2.0],
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            **tags,
        }
        stored = (hu[..., SHAPE[2] - 1 - place].T + 1024).astype(np.int16)
        write_dicom(folder / f"1-{place + 1:03d}.dcm", stored, **told)


def _metadata(series: Listed) -> dict[str, object]:
    return {
        "Series UID": series.uid,
        "Collection": "NLST",
        "3rd Party Analysis": "",
        "Subject ID": series.pid,
        "Study UID": series.study,
        "Study Date": series.date,
        "Series Description": f"{series.year}OPASEVZOOM{series.kernel}",
        "Modality": "CT",
        "Number of Images": 1 if series.localiser else SHAPE[2],
        "File Location": f"./{series.folder}",
    }


def _person(
    pid: str,
    iso: tuple[object, object] = (1, ""),
    days: tuple[object, object] = (10, ".N"),
    cancer: object = ".N",
    free: object = "",
    gender: int = 1,
) -> dict[str, object]:
    screenings = {
        "scr_iso0": iso[0],
        "scr_iso1": iso[1],
        "scr_iso2": "",
        "scr_days0": days[0],
        "scr_days1": days[1],
        "scr_days2": "",
    }
    return {"pid": pid, "age": 61, "gender": gender, **screenings, "cancyr": "", "candx_days": cancer, "canc_free_days": free}
