"""A folder of DICOM files, with or without a table of reports and labels."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path

from lingula.core.errors import UserError
from lingula.core.files import sha256_of
from lingula.core.progress import track
from lingula.data.dicom import border_of
from lingula.data.phi import Leak
from lingula.data.readers import read_radiograph
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_regions import RegionTables
from lingula.data.sources.dicom_config import DicomConfig
from lingula.data.sources.dicom_headers import KEYS, NotTaken, files_below, header_leaks, read_row
from lingula.data.sources.listed import ListedStudies
from lingula.data.sources.rows import RowReader, check_named_columns
from lingula.data.sources.tables import Row, Table, read_table
from lingula.data.study import Picture, Study


class DicomStudies(ListedStudies, ABC):
    """The images below a folder; studies by StudyInstanceUID, patients by PatientID; a subclass finds and reads the images.

    Files that are no such images are left out and counted in `skipped`. `leaks` holds tags that tell who a patient is.

    Args:
        root: The folder.
        table: Reports and labels, one row per image, study or accession number; its filled cells go before the header's.
        config: Which files are taken, and what the table is joined on.
        columns: Which column of the table is what.

    Raises:
        UserError: The folder is missing or has no such image, or the table does not fit it.
    """

    _heavy = ("_studies", "leaks")

    def __init__(
        self,
        root: Path | str,
        table: Path | str | None = None,
        config: DicomConfig | None = None,
        columns: CsvConfig | None = None,
    ) -> None:
        self.root = Path(root)
        self.config, self.columns = config or DicomConfig(), columns or CsvConfig()
        if not self.root.is_dir():
            raise UserError(f"no such folder of images: {self.root}", "Check the path given to --root.")
        self.name = self.columns.name or self.root.resolve().name
        self.citation, self.licence = self.columns.citation, "per image"
        self.skipped: dict[str, int] = {}
        self.leaks: list[Leak] = []
        rows = self._scan()
        reports = read_table(Path(table)) if table is not None else None
        joined = _join(rows, reports, self) if reports else rows
        self._studies: list[Study] = _studies(joined, reports, self)
        self._settings = {
            "root": str(self.root.resolve()),
            "sha256": {"headers": sha256_of(json.dumps(rows)), **({"table": reports.sha256} if reports else {})},
            "skipped": self.skipped,
            "dicom": self.config.model_dump(mode="json"),
            "columns": self.columns.model_dump(mode="json"),
        }

    @abstractmethod
    def _scan(self) -> list[Row]:
        """Read every header below the folder and return one row per image; count in `skipped` what is no image."""


class DicomSource(DicomStudies):
    """Every radiograph below a folder, projection by view position; damaged ones stay, so that they are quarantined.

    See `DicomStudies`.
    """

    def read(self, study: Study, image_index: int) -> Picture:
        """Read one radiograph, without its border where that is asked for.

        Raises:
            UnreadableImage: The file is damaged or no single radiograph.
        """
        pixels = read_radiograph(self.root / study.images[image_index].path)
        return Picture(pixels[border_of(pixels)] if self.config.crop_border else pixels)

    def _scan(self) -> list[Row]:
        """Read every header below the folder."""
        skipped = Counter[str]()
        names = list(files_below(self.root, lambda _: skipped.update(["folder cannot be listed"])))
        rows: list[Row] = []
        instances: set[str] = set()
        patients: dict[str, str] = {}
        for name in track(names, "reading headers", len(names)):
            try:
                row = read_row(self.root, name, self.config)
                instance, study, patient = (row.get(key, "") for key in ("SOPInstanceUID", "StudyInstanceUID", "patient_id"))
                if instance and instance in instances:
                    raise NotTaken("repeats an image (same SOPInstanceUID)")
                if study and patients.setdefault(study, patient) != patient:
                    raise NotTaken("another patient than in the rest of its study")
            except NotTaken as problem:
                skipped[problem.reason] += 1
                continue
            instances.add(instance)
            rows.append(row)
            self.leaks += header_leaks(self.root, name)
        self.skipped = dict(sorted(skipped.items(), key=lambda item: (-item[1], item[0])))
        if not rows:
            counts = ", ".join(f"{reason}: {count}" for reason, count in list(self.skipped.items())[:3]) or "it is empty"
            raise UserError(f"{self.root} has no radiograph ({counts})", "Check --root, --modalities and --body-parts.")
        return rows


def _join(rows: list[Row], table: Table, source: DicomStudies) -> list[Row]:
    """Add the table's row to every image that it is about; count the rows that are about none."""
    key, column = _key_of(table, source.config)
    reports: dict[str, Row] = {}
    for report in table.rows:
        value = report[column]
        if value and reports.setdefault(value, report) != report:
            raise UserError(f"table {table.path} has two different rows with the same {column}", "Keep one of them.")
    used = {row[key] for row in rows if row.get(key)} & set(reports)
    if not used:
        problem = f"no {column} of table {table.path} occurs in the headers below {source.root}"
        raise UserError(problem, "Join on another tag with --join-column, or mend the table.")
    if unused := len(reports) - len(used):
        source.skipped["row of the table without an image"] = unused
    taken = [name for name in table.columns if _spelling(name) not in _IDENTIFYING or name in _asked_for(source.columns)]
    told = {value: {name: report[name] for name in taken if report[name]} for value, report in reports.items()}
    return [row | told.get(row.get(key, ""), {}) for row in rows]


def _key_of(table: Table, config: DicomConfig) -> tuple[str, str]:
    """Return the tag to join on and the table's column for it, however it is spelt (`study_instance_uid`)."""
    spelt = {_spelling(name): name for name in table.columns}
    for key in (config.join_column,) if config.join_column else KEYS:
        if key.lower() in spelt:
            return key, spelt[key.lower()]
    wanted = config.join_column or ", ".join(KEYS)
    raise UserError(f"table {table.path} has no column to join on ({wanted})", f"It has {', '.join(table.columns)}.")


def _spelling(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


_IDENTIFYING = {_spelling(key) for key in KEYS}
"""Columns that tell image, study or order: they join, and are not stored unless they are asked for by name."""


def _asked_for(columns: CsvConfig) -> set[str]:
    values = [value for value in columns.model_dump().values() if isinstance(value, str | tuple)]
    return {name for value in values for name in ([value] if isinstance(value, str) else value)}


def _studies(rows: list[Row], table: Table | None, source: DicomStudies) -> list[Study]:
    """Group the images into studies; an image without a StudyInstanceUID is a study of its own."""
    config = source.columns
    named = {
        config.image_column: "image",
        config.study_id_column: "StudyInstanceUID",
        config.patient_id_column: "patient_id",
        config.view_column: "view",
        config.sex_column: "sex",
        config.age_column: "age",
    }
    cells = [{**row, **{column: row.get(column) or row.get(name, "") for column, name in named.items()}} for row in rows]
    for cell, row in zip(cells, rows, strict=True):
        cell[config.image_column] = row["image"]
        for name in {*KEYS, *named.values()} - set(named) - set(config.extra_columns or ()):
            cell.pop(name, None)
    columns = list(dict.fromkeys(name for row in cells for name in row))
    whole = [{name: row.get(name, "") for name in columns} for row in cells]
    joined = Table(table.path if table else source.root, columns, whole, "")
    check_named_columns(joined, config)
    return RowReader(joined, config).studies(RegionTables(None, None))
