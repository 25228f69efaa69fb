"""Bring your own images, text and labels: a table with one row per image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lingula.core.errors import UserError
from lingula.core.types import RegionMask
from lingula.data.readers import UnreadableImage, read_mask, read_radiograph
from lingula.data.sources.csv_config import NONE, CsvConfig
from lingula.data.sources.csv_labels import LabelReader, LabelValue
from lingula.data.sources.csv_regions import RegionTables
from lingula.data.sources.tables import Row, Table, read_table
from lingula.data.splits import read_split
from lingula.data.study import ImageReference, Picture, Projection, Region, Report, Study
from lingula.data.text.sections import SEPARATOR, TEXT, parse_sections

PROJECTIONS: dict[str, Projection] = {
    "pa": "PA",
    "ap": "AP",
    "lateral": "lateral",
    "lat": "lateral",
    "l": "lateral",
    "ll": "lateral",
    "rl": "lateral",
    "ct": "CT",
}


class CsvSource:
    """A table of images with text, labels and regions.

    Args:
        table: The CSV (or .tsv) file.
        root: Folder that the image paths are relative to; None: the table's own folder.
        config: Which columns mean what.

    Raises:
        UserError: Table, folder or a column is missing, the table is empty, or none of its images exists.
    """

    def __init__(self, table: Path | str, root: Path | str | None = None, config: CsvConfig | None = None) -> None:
        self.config = config or CsvConfig()
        self.table = Path(table)
        self.root = Path(root) if root is not None else self.table.parent
        self.name = self.config.name or self.table.stem
        self.citation = self.config.citation
        self.licence = "per image"
        self._studies: list[Study] | None = None
        self._tables: tuple[Table, RegionTables] | None = None
        self._settings = self._check()

    def __iter__(self) -> Iterator[Study]:
        if self._studies is None:
            self._studies = self._read_studies()
        return iter(self._studies)

    def __len__(self) -> int:
        if self._studies is None:
            self._studies = self._read_studies()
        return len(self._studies)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to worker processes without the studies."""
        return {**self.__dict__, "_studies": None, "_tables": None}

    def settings(self) -> dict[str, object]:
        """Return the hashes of the tables, the root and the column mapping."""
        return dict(self._settings)

    def read(self, study: Study, image_index: int) -> Picture:
        """Read one image and its masks.

        Raises:
            UnreadableImage: The file is broken or missing, or its path leaves the root folder.
        """
        pixels = read_radiograph(self._inside(study.images[image_index].path))
        regions: list[Region] = []
        masks: list[RegionMask | None] = []
        problems: list[tuple[str, str]] = []
        for region in study.regions:
            if region.mask is None or region.image_index != image_index:
                continue
            try:
                mask = read_mask(self._inside(region.mask))
                regions.append(region.model_copy(update={"box": _bounding_box(mask)}))
                masks.append(mask)
            except UnreadableImage as error:
                problems.append((region.mask, f"mask: {error.reason}"))
        return Picture(pixels, regions, masks, problems)

    def _inside(self, path: str) -> Path:
        """Return the file that a path of the table means, refusing one that leaves the root folder."""
        root = os.path.abspath(self.root)
        file = os.path.normpath(os.path.join(root, path))
        if os.path.commonpath([root, file]) != root:
            raise UnreadableImage("path leaves the root folder")
        return Path(file)

    def _check(self) -> dict[str, object]:
        """Read the tables, check every named column, and return what determines the studies."""
        main = read_table(self.table)
        if not self.root.is_dir():
            raise UserError(f"no such folder of images: {self.root}", "Check the path given to --root.")
        self._check_columns(main)
        if not main.rows:
            raise UserError(f"table {self.table} has no row", "It needs one row per image.")
        image = self.config.image_column
        if not any(self._exists(row[image]) for row in main.rows):
            remedy = "Is --root the folder that the paths are relative to?"
            raise UserError(
                f"none of the {len(main.rows)} images of {self.table} is in {self.root} (first: {main.rows[0][image]!r})", remedy
            )
        boxes, masks = self._region_table("boxes_table"), self._region_table("masks_table")
        self._tables = (main, RegionTables(boxes, masks))
        hashes = {part: table.sha256 for part, table in (("table", main), ("boxes", boxes), ("masks", masks)) if table}
        return {"root": str(self.root.resolve()), "sha256": hashes, "columns": self.config.model_dump(mode="json")}

    def _exists(self, path: str) -> bool:
        try:
            return bool(path) and self._inside(path).is_file()
        except UnreadableImage:
            return False

    def _check_columns(self, main: Table) -> None:
        """Check that the table has the image column and every column whose name is not the default one."""
        config, default = self.config, CsvConfig()
        main.require(config.image_column, "paths of the images")
        for field in type(config).model_fields:
            value = getattr(config, field)
            if value == getattr(default, field) or not field.endswith(("_column", "_columns")):
                continue
            for name in (value,) if isinstance(value, str) else value or ():
                if name != NONE:
                    main.require(name, f"named by --{field.replace('_', '-')}")

    def _region_table(self, field: str) -> Table | None:
        name: str = getattr(self.config, field)
        path = self.table.parent / name
        if name == NONE or (name == getattr(CsvConfig(), field) and not path.is_file()):
            return None
        return read_table(path)

    def _read_studies(self) -> list[Study]:
        if self._tables is None:
            self._check()
            return self._read_studies()
        main, regions = self._tables
        _check_regions(regions, {row[self.config.image_column] for row in main.rows}, self.table)
        reader = _RowReader(main, self.config)
        groups: dict[str, list[int]] = {}
        for number, row in enumerate(main.rows):
            groups.setdefault(reader.study_id(row, number), []).append(number)
        self._tables = None
        return [reader.study(study_id, numbers, regions) for study_id, numbers in groups.items()]


class _RowReader:
    """Turns the rows of one study into a `Study`."""

    def __init__(self, main: Table, config: CsvConfig) -> None:
        self._main, self._config = main, config
        self._labels = LabelReader(main.rows, config, main.columns)
        self._sections = [name for name in config.section_columns if name in main.columns]
        used = {getattr(config, field) for field in type(config).model_fields if field.endswith("_column")}
        used |= {*config.section_columns, *config.finding_columns}
        used -= {config.label_group_column}
        self._extra = (
            [name for name in main.columns if name not in used] if config.extra_columns is None else list(config.extra_columns)
        )

    def study_id(self, row: Row, number: int) -> str:
        """Return the id of the row's study; without one, the row is a study of its own, named by its image."""
        image = row[self._config.image_column]
        if not image:
            raise UserError(f"table {self._main.path}, row {number + 1}: no image", "Every row needs the path of an image.")
        return row.get(self._config.study_id_column, "") or image

    def study(self, study_id: str, numbers: list[int], regions: RegionTables) -> Study:
        """Join the rows of one study: sections and labels of all, one image each."""
        rows = [self._main.rows[number] for number in numbers]
        paths = [row[self._config.image_column] for row in rows]
        twice = next((path for number, path in enumerate(paths) if path in paths[:number]), None)
        if twice is not None:
            raise UserError(f"table {self._main.path} lists image '{twice}' twice", "Remove one of the rows.")
        report = self._report(rows)
        labels, left_out = self._join_labels(rows, numbers)
        extra = self._extras(rows)
        if left_out:
            extra["other_labels"] = left_out
        where = [region for index, path in enumerate(paths) for region in regions.read(path, index, report)]
        return Study(
            study_id=study_id,
            patient_id=self._same(rows, self._config.patient_id_column, study_id) or study_id,
            images=[ImageReference(path=path, projection=self._projection(row)) for path, row in zip(paths, rows, strict=True)],
            report=report,
            labels=labels,
            regions=where,
            split=read_split(self._same(rows, self._config.split_column, study_id)),
            licence="; ".join(self._distinct(rows, self._config.licence_column)),
            extra=extra,
        )

    def _report(self, rows: list[Row]) -> Report | None:
        """Collect the sections; different texts of one section follow each other in the order of the rows."""
        sections = {name.lower(): " ".join(self._distinct(rows, name)) for name in self._sections}
        if not any(sections.values()):
            sections = self._parsed(rows)
        if not any(sections.values()):
            sections = {TEXT: " ".join(self._distinct(rows, self._config.text_column))}
        sections = {name: text for name, text in sections.items() if text}
        return Report(sections=sections) if sections else None

    def _parsed(self, rows: list[Row]) -> dict[str, str]:
        """Cut exported reports into sections, each section's distinct texts in the order of the rows."""
        texts: dict[str, dict[str, None]] = {}
        for report in self._distinct(rows, self._config.report_column):
            for name, text in parse_sections(report).items():
                if name not in self._config.left_out_sections:
                    texts.setdefault(name, {})[text] = None
        return {name: SEPARATOR.join(each) for name, each in texts.items()}

    def _join_labels(self, rows: list[Row], numbers: list[int]) -> tuple[dict[str, LabelValue], str]:
        """Join the labels of a study's images: present in one is present, then uncertain, then absent."""
        order: list[LabelValue] = [None, 0, -1, 1]
        joined: dict[str, LabelValue] = {}
        left_out: dict[str, None] = {}
        for row, number in zip(rows, numbers, strict=True):
            labels, rest = self._labels.read(row, number + 1)
            for name, value in labels.items():
                joined[name] = max(joined.get(name), value, key=order.index)
            if rest:
                left_out[rest] = None
        return dict(sorted(joined.items())), "; ".join(left_out)

    def _extras(self, rows: list[Row]) -> dict[str, str]:
        config = self._config
        extra = {name: "; ".join(self._distinct(rows, name)) for name in self._extra}
        extra["sex"] = {"MALE": "M", "FEMALE": "F"}.get(word := self._same_or_blank(rows, config.sex_column).upper(), word)
        extra["age"] = _years(self._same_or_blank(rows, config.age_column))
        extra["view"] = "; ".join(self._distinct(rows, config.view_column))
        return {name: text for name, text in extra.items() if text}

    def _projection(self, row: Row) -> Projection:
        words = row.get(self._config.view_column, "").lower().replace("_", " ").replace("-", " ").split()
        return next((PROJECTIONS[word] for word in words if word in PROJECTIONS), "unknown")

    def _distinct(self, rows: list[Row], column: str) -> list[str]:
        return list(dict.fromkeys(row[column] for row in rows if row.get(column)))

    def _same_or_blank(self, rows: list[Row], column: str) -> str:
        values = self._distinct(rows, column)
        return values[0] if len(values) == 1 else ""

    def _same(self, rows: list[Row], column: str, study_id: str) -> str:
        """Return a study's one value of a column."""
        values = self._distinct(rows, column)
        if len(values) > 1:
            problem = f"study '{study_id}' has two values of '{column}': {values[0]} and {values[1]}"
            raise UserError(problem, "Mend the table, or make every row its own study with --study-id-column none.")
        return values[0] if values else ""


def _check_regions(regions: RegionTables, images: set[str], table: Path) -> None:
    strangers = sorted(regions.images() - images)
    if strangers:
        problem = f"{len(strangers)} images with boxes or masks are not in {table} (first: {strangers[0]!r})"
        raise UserError(problem, "Mend the tables, or leave regions out with --boxes-table none --masks-table none.")


def _bounding_box(mask: RegionMask) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 around a mask.

    Raises:
        UnreadableImage: The mask is empty.
    """
    if not mask.any():
        raise UnreadableImage("it is empty")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _years(text: str) -> str:
    """Return an age in whole years as text: `54.0` and `054Y` are `54`; anything else stays as it is."""
    number = text.upper().removesuffix("Y")
    try:
        return str(int(float(number)))
    except (ValueError, OverflowError):
        return "" if text.lower() == "nan" else text
