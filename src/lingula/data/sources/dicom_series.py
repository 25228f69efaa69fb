"""A folder of DICOM CT series, with or without a table of reports and labels."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import FileDataset

from lingula.core.errors import UserError
from lingula.core.progress import track
from lingula.data.dicom import read_header
from lingula.data.dicom_series import read_series
from lingula.data.phi import Leak
from lingula.data.readers import UnreadableImage, is_dicom
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_volumes import as_ct
from lingula.data.sources.dicom_config import DicomConfig
from lingula.data.sources.dicom_folder import DicomStudies
from lingula.data.sources.dicom_headers import KEYS, NotTaken, check_wanted, files_below, header_text, leaks_in
from lingula.data.sources.tables import Row
from lingula.data.study import Scan, Study

CELLS = {
    "patient_id": "PatientID",
    "sex": "PatientSex",
    "age": "PatientAge",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "manufacturer": "Manufacturer",
    "kernel": "ConvolutionKernel",
    "slice_thickness_mm": "SliceThickness",
    "gantry_tilt_degrees": "GantryDetectorTilt",
}
"""What is kept of the first slice's header, besides the keys of the study."""


class DicomSeriesSource(DicomStudies):
    """Every CT series below a folder, by SeriesInstanceUID; the image of a study is named by its series' first file.

    Every slice's header is looked through for what tells who the patient is; a tag counts once a series, with the first slice
    that has it. Files that are no CT slices (and localisers) are left out and counted in `skipped`; a series with a slice
    missing, doubled, turned or damaged stays, so that it is quarantined. See `DicomStudies`.
    """

    def __init__(
        self,
        root: Path | str,
        table: Path | str | None = None,
        config: DicomConfig | None = None,
        columns: CsvConfig | None = None,
    ) -> None:
        self._series: dict[str, list[str]] = {}
        super().__init__(root, table, config or DicomConfig(modalities=("CT",)), columns)
        self._studies = as_ct(self._studies)

    def read(self, study: Study, image_index: int) -> Scan:
        """Read one series.

        Raises:
            UnreadableImage: A slice is damaged, missing, doubled, or of another orientation, or the gantry was tilted.
        """
        return Scan(read_series([self.root / name for name in self._series[study.images[image_index].path]]))

    def part(self, studies: Sequence[Study]) -> DicomSeriesSource:
        """Return a source that knows the files of these studies' series only."""
        part = copy.copy(self)
        part._series = {image.path: self._series[image.path] for study in studies for image in study.images}
        return part

    def _scan(self) -> list[Row]:
        """Read every header below the folder and group the slices by series."""
        skipped = Counter[str]()
        names = list(files_below(self.root, lambda _: skipped.update(["folder cannot be listed"])))
        groups: dict[str, list[Row]] = {}
        leaks: dict[str, dict[tuple[str, str], Leak]] = {}
        for name in track(names, "reading headers", len(names)):
            try:
                series, row, found = _read_row(self.root, name, self.config)
            except NotTaken as problem:
                skipped[problem.reason] += 1
                continue
            groups.setdefault(series, []).append(row)
            for leak in found:
                leaks.setdefault(series, {}).setdefault((leak.where, leak.what), leak)
        rows = []
        for series, slices in groups.items():
            if any(row[key] != slices[0][key] for row in slices for key in ("StudyInstanceUID", "patient_id")):
                skipped["series of several studies or patients"] += 1
                continue
            self._series[slices[0]["image"]] = [row["image"] for row in slices]
            self.leaks += leaks.get(series, {}).values()
            rows.append({**slices[0], "slices": str(len(slices)), "SOPInstanceUID": ""})
        self.skipped = dict(sorted(skipped.items(), key=lambda item: (-item[1], item[0])))
        if not rows:
            counts = ", ".join(f"{reason}: {count}" for reason, count in list(self.skipped.items())[:3]) or "it is empty"
            raise UserError(f"{self.root} has no CT series ({counts})", "Check --root, --modalities and --body-parts.")
        return rows


def _read_row(root: Path, name: str, config: DicomConfig) -> tuple[str, Row, list[Leak]]:
    """Return the series and the cells of one slice, and the tags that tell who the patient is.

    Raises:
        NotTaken: The file is no slice of a CT, or cannot be assigned to a series.
    """
    try:
        name.encode()
        if not is_dicom(root / name):
            raise NotTaken("not a DICOM file")
        header = read_header(root / name)
        check_wanted(header, config)
        if "LOCALIZER" in header_text(header, "ImageType").upper():
            raise NotTaken("localiser")
        row = {"image": name, **{key: header_text(header, key) for key in KEYS}}
        row |= {key: header_text(header, tag) for key, tag in CELLS.items()}
        series = header_text(header, "SeriesInstanceUID")
    except UnicodeEncodeError:
        raise NotTaken("file name is not UTF-8") from None
    except UnreadableImage as error:
        raise NotTaken(f"header: {error.reason}") from None
    if not series:
        raise NotTaken("no SeriesInstanceUID")
    return series, row, _leaks(header, name)


def _leaks(header: FileDataset, name: str) -> list[Leak]:
    """Return what tells who the patient is; nothing of a damaged header, whose series is quarantined or not by its pixels."""
    try:
        return leaks_in(header, name)
    except UnreadableImage:
        return []
