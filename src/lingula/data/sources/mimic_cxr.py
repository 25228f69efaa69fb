"""MIMIC-CXR: 377,110 radiographs of 227,835 studies with reports, as JPEG (MIMIC-CXR-JPG) or as DICOM.

Citation: Johnson et al., "MIMIC-CXR, a de-identified publicly available database of chest radiographs with free-text reports",
Scientific Data 2019; Johnson et al., "MIMIC-CXR-JPG", arXiv 1901.07042.
Licence: PhysioNet Credentialed Health Data License 1.5.0, no redistribution.
Download (credentialed account): https://physionet.org/content/mimic-cxr-jpg/: files/ and the tables
mimic-cxr-2.0.0-{metadata,split,chexpert}.csv.gz; https://physionet.org/content/mimic-cxr/: mimic-cxr-reports.zip, unpacked
anywhere below the same folder or below --reports; for DICOM its files/ and cxr-record-list.csv.gz, with the three small tables
of the JPEG version beside it, which give split, view and labels.

The step that cuts reports into sections is built in: no mimic_cxr_sectioned.csv is needed.

Quirks: ids are numbers in the tables and carry p and s in paths (p10000032/s50414267); tables are packed (.gz) or not; versions
2.0.0 and 2.1.0 name their tables alike; ViewPosition may be blank; labels are of studies: 1, 0, -1 (uncertain), blank; studies
may lack labels; a study may lack a report file, and of several of one name the first by path counts; headings of reports vary,
some reports have neither findings nor impression.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from lingula.core.errors import UserError
from lingula.data.sources.chexpert import FINDINGS
from lingula.data.sources.csv_labels import VALUES, LabelValue
from lingula.data.sources.public import PublicConfig, PublicSource
from lingula.data.sources.published_rows import by_key, distinct
from lingula.data.sources.root_folder import RootFolder, beside
from lingula.data.sources.tables import Row
from lingula.data.split_rules import SplitRule, published
from lingula.data.splits import read_split
from lingula.data.study import ImageReference, Projection, Report, Split, Study
from lingula.data.text.sections import parse_sections

VIEWS: dict[str, Projection] = {"PA": "PA", "AP": "AP", "LATERAL": "lateral", "LL": "lateral"}
LEFT_OUT = ("signature",)
"""Sections that the store does not hold."""


class MimicConfig(PublicConfig):
    """Where the reports are, beside what every public data set asks."""

    reports: Path | None = None
    """Folder of the unpacked reports (sSTUDY.txt, at any depth), where they are not below the root."""


class MimicJpgSource(PublicSource):
    """MIMIC-CXR-JPG with the reports of MIMIC-CXR."""

    name = "mimic-cxr-jpg"
    citation = "Johnson et al., MIMIC-CXR-JPG, arXiv 1901.07042"
    licence = "PhysioNet Credentialed Health Data License 1.5.0"
    settings_class = MimicConfig
    reports = True
    rules: Mapping[str, SplitRule] = {
        "official": SplitRule("the official split, by patient", published, "mimic-cxr-2.0.0-split.csv.gz"),
    }
    notes = (
        "The official code of M-FLAG and of G2D trains on every row, the official val and test too: published results on "
        "MIMIC-CXR of such weights may be measured on images that they have seen. `lingula pretrain` reads the train split only.",
    )
    _heavy = ("_groups", "_labels", "_texts", "_split")
    _ending = ".jpg"

    def __init__(self, root: Path | str, config: PublicConfig | None = None, tables_only: bool = False) -> None:
        self._reports = config.reports if isinstance(config, MimicConfig) else None
        super().__init__(root, config, tables_only)

    def _open(self) -> None:
        need = ("dicom_id", "subject_id", "study_id", "ViewPosition")
        path, table = self._table("mimic-cxr-*-metadata.csv", need=need, only=())
        rows = by_key(distinct(table.rows, self.skipped), "dicom_id", table)
        _, table = self._table("mimic-cxr-*-split.csv", need=("dicom_id", "study_id", "split"), only=())
        self._split = {_bare(row["study_id"]): read_split(row["split"]) for row in table.rows}
        _, table = self._table("mimic-cxr-*-chexpert.csv", need=("study_id", *FINDINGS), only=())
        self._labels = {_bare(study): row for study, row in by_key(distinct(table.rows, self.skipped), "study_id", table).items()}
        self._groups: dict[str, list[tuple[str, Row]]] = {}
        for image, row in self._images(path, rows):
            self._groups.setdefault(_bare(row["study_id"]), []).append((image, row))
        self._texts = self._find_reports()

    def _images(self, table: str, rows: dict[str, Row]) -> Iterator[tuple[str, Row]]:
        """Yield the path of every image, relative to the root, and its row of the metadata."""
        for name, row in rows.items():
            subject, study = _bare(row["subject_id"]), _bare(row["study_id"])
            yield beside(table, f"files/p{subject[:2]}/p{subject}/s{study}/{name}{self._ending}"), row

    def _find_reports(self) -> dict[str, Path]:
        folder = self.folder if self._reports is None else RootFolder(self._reports)
        found = {study: path for study in self._groups if (path := folder.named(f"s{study}.txt"))}
        if self._reports is not None and not found:
            raise UserError(f"no report sSTUDY.txt of {self.name} below {self._reports}", "Unpack mimic-cxr-reports.zip there.")
        self._skip("study without a report file", len(self._groups) - len(found))
        self._skip(
            "report file called like another one, not read (the first by path is)",
            folder.copies({f"s{study}.txt" for study in found}),
        )
        return {study: folder.root / path for study, path in found.items()}

    def _studies(self) -> Iterator[Study]:
        for study_id, images in self._groups.items():
            labels = self._labels.get(study_id, {})
            yield Study(
                study_id=f"s{study_id}",
                patient_id=f"p{_bare(images[0][1]['subject_id'])}",
                images=[ImageReference(path=path, projection=_projection(row)) for path, row in images],
                labels={finding: self._value(study_id, finding, labels[finding]) for finding in FINDINGS if finding in labels},
                split=self._split_of(study_id),
                licence=self.licence,
            )

    def _value(self, study_id: str, finding: str, cell: str) -> LabelValue:
        if cell not in VALUES:
            raise UserError(f"{self.name}: s{study_id}: '{cell}' in column '{finding}' is no label", "Mend the table.")
        return VALUES[cell]

    def _split_of(self, study_id: str) -> Split | None:
        if study_id not in self._split:
            raise UserError(f"{self.name}: study s{study_id} is not in the table of splits", "Download both tables again.")
        return self._split[study_id]

    def _complete(self, study: Study) -> Study:
        path = self._texts.get(study.study_id.removeprefix("s"))
        if path is None:
            return study
        sections = parse_sections(path.read_text(encoding="utf-8", errors="replace"))
        kept = {name: text for name, text in sections.items() if name not in LEFT_OUT}
        return study.model_copy(update={"report": Report(sections=kept)}) if kept else study


class MimicDicomSource(MimicJpgSource):
    """MIMIC-CXR: the same studies as DICOM, listed by cxr-record-list.csv."""

    name = "mimic-cxr"
    citation = "Johnson et al., MIMIC-CXR, Scientific Data 2019"
    _ending = ".dcm"

    def _images(self, table: str, rows: dict[str, Row]) -> Iterator[tuple[str, Row]]:
        path, records = self._table("cxr-record-list.csv", need=("subject_id", "study_id", "dicom_id", "path"))
        for record in distinct(records.rows, self.skipped):
            row = rows.get(record["dicom_id"], {**record, "ViewPosition": ""})
            yield beside(path, PurePosixPath(record["path"]).as_posix()), row


def _projection(row: Row) -> Projection:
    return VIEWS.get(row["ViewPosition"].upper(), "unknown")


def _bare(identifier: str) -> str:
    """Return an id as its digits: `s50414267`, `50414267` and `50414267.0` are one."""
    return identifier.lstrip("sp").removesuffix(".0")
