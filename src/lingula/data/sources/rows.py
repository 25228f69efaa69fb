"""From the rows of a table to studies: sections and labels joined, one image per row."""

from __future__ import annotations

from lingula.core.errors import UserError
from lingula.data.sources.csv_config import NONE, CsvConfig
from lingula.data.sources.csv_labels import LabelReader, LabelValue
from lingula.data.sources.csv_regions import RegionTables
from lingula.data.sources.tables import Row, Table
from lingula.data.splits import read_split
from lingula.data.study import ImageReference, Projection, Report, Study
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


def check_named_columns(table: Table, config: CsvConfig) -> None:
    """Check that the table has every column whose name is not the default one.

    Raises:
        UserError: It lacks one; the nearest is offered.
    """
    default = CsvConfig()
    for field in type(config).model_fields:
        value = getattr(config, field)
        if value == getattr(default, field) or not field.endswith(("_column", "_columns")):
            continue
        for name in (value,) if isinstance(value, str) else value or ():
            if name != NONE:
                table.require(name, f"named by --{field.replace('_', '-')}")


class RowReader:
    """Turns the rows of one study into a `Study`.

    Args:
        main: The table, one row per image.
        config: Which columns mean what.
    """

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

    def studies(self, regions: RegionTables) -> list[Study]:
        """Group the rows by study, in the order in which studies first occur.

        Raises:
            UserError: A row has no image, a study contradicts itself or lists an image twice.
        """
        groups: dict[str, list[int]] = {}
        for number, row in enumerate(self._main.rows):
            groups.setdefault(self.study_id(row, number), []).append(number)
        return [self.study(study_id, numbers, regions) for study_id, numbers in groups.items()]

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
        extra["sex"] = sex_of(self._same_or_blank(rows, config.sex_column))
        extra["age"] = years_of(self._same_or_blank(rows, config.age_column))
        extra["view"] = "; ".join(self._distinct(rows, config.view_column))
        return {name: text for name, text in extra.items() if text}

    def _projection(self, row: Row) -> Projection:
        return projection_of(row.get(self._config.view_column, ""))

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


def projection_of(view: str) -> Projection:
    """Return the projection that a word of a view tells.

    >>> projection_of("AP supine"), projection_of("oblique")
    ('AP', 'unknown')
    """
    words = view.lower().replace("_", " ").replace("-", " ").split()
    return next((PROJECTIONS[word] for word in words if word in PROJECTIONS), "unknown")


def sex_of(text: str) -> str:
    """Return M or F, however long it is written; anything else stays as it is, in capitals."""
    return {"MALE": "M", "FEMALE": "F"}.get(word := text.upper(), word)


def years_of(text: str) -> str:
    """Return an age in whole years as text: `54.0` and `054Y` are `54`; anything else stays as it is."""
    number = text.upper().removesuffix("Y")
    try:
        return str(int(float(number)))
    except (ValueError, OverflowError):
        return "" if text.lower() == "nan" else text
