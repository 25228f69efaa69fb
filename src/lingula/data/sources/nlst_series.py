"""The CT series below a folder, one a folder, as the NBIA Data Retriever and idc-index lay them out; one header each is read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydicom.dataset import FileDataset

from lingula.core.errors import UserError
from lingula.core.progress import track
from lingula.data.dicom import read_header
from lingula.data.readers import UnreadableImage, is_dicom
from lingula.data.sources.dicom_config import DicomConfig
from lingula.data.sources.dicom_headers import NotTaken, check_wanted, header_text
from lingula.data.sources.published_rows import number
from lingula.data.sources.root_folder import beside
from lingula.data.sources.tables import Table

UID, SUBJECT, STUDY, DATE = "Series UID", "Subject ID", "Study UID", "Study Date"
MODALITY, COUNT, FOLDER = "Modality", "Number of Images", "File Location"
COLUMNS = (UID, SUBJECT, STUDY, DATE, MODALITY, COUNT, FOLDER)
"""Columns of the retriever's metadata.csv that are read."""
CT = DicomConfig(modalities=("CT",))
TAGS = (
    *("SeriesInstanceUID", "PatientID", "StudyInstanceUID", "StudyDate"),
    *("SOPClassUID", "Modality", "BodyPartExamined", "PresentationIntentType", "ImageType"),
)


@dataclass(frozen=True)
class Series:
    """One series.

    Args:
        uid: SeriesInstanceUID.
        patient: PatientID; in NLST the participant's pid.
        study: StudyInstanceUID.
        date: Study date, YYYYMMDD; empty where it is not told.
        folder: Where its slices are, relative to the root.
        files: Its slices, in the order of their names; of a series that is only listed none.
        expected: How many slices it has, as the table says; 0 where no table does.
    """

    uid: str
    patient: str
    study: str
    date: str
    folder: str
    files: tuple[str, ...] = ()
    expected: int = 0

    @property
    def image(self) -> str:
        """What a study calls it: its first slice; of a series that is not there in full a name that no file has."""
        if not self.files:
            return self.folder
        if len(self.files) < self.expected:
            return f"{self.folder} ({len(self.files)} of {self.expected} slices)"
        return self.files[0]


def listed_series(table: Table, path: str, skip: Counter[str]) -> Iterator[Series]:
    """Yield the CT series of one metadata.csv of the NBIA Data Retriever.

    Args:
        table: The table, with `COLUMNS`.
        path: Where it is, relative to the root; folders are told relative to it.
        skip: Counts series of another modality, and rows without one.

    Raises:
        UserError: A number of images is none.
    """
    for row in table.rows:
        if not row[UID]:
            skip["row without a series"] += 1
            continue
        if row[MODALITY] != "CT":
            skip[f"modality {row[MODALITY][:16] or 'unknown'}"] += 1
            continue
        count = number(row[COUNT])
        if count is None:
            raise UserError(f"table {table.path}: {COUNT} of series {row[UID]} is {row[COUNT]!r}", "Download it again.")
        folder = beside(path, row[FOLDER].replace("\\", "/").removeprefix("./"))
        yield Series(row[UID], row[SUBJECT], row[STUDY], _date(row[DATE]), folder, expected=int(count))


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Args:
        series: The CT series.
        others: Folders, and SeriesInstanceUIDs where they are told, of what is none.
    """

    series: list[Series]
    others: set[str]


def found_series(root: Path, files: Iterable[str], skip: Counter[str]) -> Found:
    """Find the CT series that are there: every folder with DICOM files is one, and its first readable header says which.

    Args:
        root: The folder that all paths are relative to.
        files: Paths of DICOM files.
        skip: Counts, by reason, folders that are no CT series: of localisers, of another modality, unreadable, without ids.
    """
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted(files):
        folders[PurePosixPath(file).parent.as_posix()].append(file)
    found = Found([], set())
    for folder, slices in track(folders.items(), "reading headers", len(folders)):
        names = {folder}
        try:
            header = _first_header(root, slices)
            names.add(header_text(header, "SeriesInstanceUID"))
            found.series.append(_series(header, folder, slices))
        except NotTaken as problem:
            skip[f"series: {problem.reason}"] += 1
            found.others.update(names)
    return found


def _first_header(root: Path, files: Sequence[str]) -> FileDataset:
    """Return the first header that can be read; what is wrong with the other slices is found out when the series is read."""
    reason = "no file"
    for file in files:
        try:
            if is_dicom(root / file):
                return read_header(root / file, tags=TAGS)
            reason = "not a DICOM file"
        except UnreadableImage as error:
            reason = f"header: {error.reason}"
    raise NotTaken(reason)


def _series(header: FileDataset, folder: str, files: Sequence[str]) -> Series:
    check_wanted(header, CT)
    if "LOCALIZER" in header_text(header, "ImageType").upper():
        raise NotTaken("localiser")
    uid, patient, study, date = (header_text(header, tag) for tag in TAGS[:4])
    if not (uid and patient and study):
        raise NotTaken("without ids of series, study and patient")
    return Series(uid, patient, study, _date(date), folder, tuple(files))


def _date(text: str) -> str:
    """Return a date as YYYYMMDD, from DICOM's form or the table's.

    >>> _date("01-02-1999"), _date("19990102"), _date("NA")
    ('19990102', '19990102', '')
    """
    parts = text.split("-")
    if len(parts) == 3 and [len(part) for part in parts] == [2, 2, 4]:
        text = parts[2] + parts[0] + parts[1]
    return text if len(text) == 8 and text.isdigit() else ""
