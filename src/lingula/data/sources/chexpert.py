"""CheXpert: 224,316 radiographs of 65,240 patients, 14 findings from reports; with CheXpert Plus, the reports too.

Citation: Irvin et al., "CheXpert: A large chest radiograph dataset with uncertainty labels and expert comparison", AAAI 2019;
Chambon et al., "CheXpert Plus", arXiv 2405.19538.
Licence: Stanford University Dataset Research Use Agreement, no redistribution.
Download: https://stanfordaimi.azurewebsites.net (registration): CheXpert-v1.0 or CheXpert-v1.0-small, and, for the reports,
df_chexpert_plus_240401.csv of CheXpert Plus. Put all of it below one folder. The labels of the test set (500 studies, from
https://github.com/rajpurkarlab/cheXpert-test-set-labels or CheXlocalize) are read from test_labels.csv where they are there.

Quirks: `Path` begins with the name of the folder as it was packed (CheXpert-v1.0/, CheXpert-v1.0-small/); labels are 1, 0, -1
(uncertain) and blank (not mentioned), all four are kept; the first sex is Unknown and some ages are 0; `valid.csv` has expert
labels for all 14 columns and no -1; the test table has neither sex, age nor view. CheXpert Plus writes its paths without the
first folder and gives sections as columns; PNG copies of it have the same names with .png.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from lingula.core.errors import UserError
from lingula.data.sources.csv_labels import VALUES, LabelValue
from lingula.data.sources.public import PublicSource
from lingula.data.sources.published_rows import distinct
from lingula.data.sources.tables import Row
from lingula.data.split_rules import SplitRule, hold_out_patients, published
from lingula.data.study import ImageReference, Projection, Report, Split, Study

FINDINGS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"),
)
"""In the order of the table."""
TABLES: dict[str, Split] = {"train.csv": "train", "valid.csv": "test"}
"""Table to split: the official validation set is what papers test on; a part of train takes the place of val."""
TEST = "test_labels.csv"
SECTIONS = {
    "section_narrative": "narrative",
    "section_clinical_history": "indication",
    "section_history": "history",
    "section_comparison": "comparison",
    "section_technique": "technique",
    "section_procedure_comments": "procedure",
    "section_findings": "findings",
    "section_impression": "impression",
    "section_summary": "summary",
}
"""Columns of CheXpert Plus to our names of sections; `section_end_of_impression` and the accession number are left out."""
SEX = {"Male": "M", "Female": "F"}


class ChexpertSource(PublicSource):
    """CheXpert as Stanford publishes it, with the reports of CheXpert Plus where they are there."""

    name = "chexpert"
    citation = "Irvin et al., CheXpert, AAAI 2019"
    licence = "Stanford University Dataset Research Use Agreement"
    reports = True
    rules: Mapping[str, SplitRule] = {
        "patient": SplitRule(
            "patients with 5,000 frontal images of train are val; the official validation set is test",
            hold_out_patients(images=5000, frontal=True),
            "sizes as near as patients allow to MGCA and G2D Table 6, train 186,027 / 5,000 / 202 frontal images",
        ),
        "published": SplitRule("the official tables, without val", published, "Irvin et al. 2019"),
        "mgca": SplitRule(
            "as MGCA's code draws it",
            None,
            "MGCA mgca/preprocess/chexpert.py; G2D (arXiv 2312.01522) Table 6, frontal images",
            sizes=(186_027, 5_000, 202),
            leak="it drops by label what it chose by position, so that on the real table 4,907 of its 5,000 val images stay in "
            "train, and 4,566 of their 4,576 patients",
            instead="patient",
        ),
    }
    _heavy = ("_groups", "_reports")

    def _open(self) -> None:
        self._groups: dict[str, list[tuple[str, Split, Row]]] = {}
        for name, split in TABLES.items():
            self._read(name, split)
        if self.folder.find_table(TEST) is not None:
            self._read(TEST, "test")
        self._reports = self._read_reports()

    def _read(self, name: str, split: Split) -> None:
        path, table = self._table(name, need=("Path", *(FINDINGS if name != TEST else ("Atelectasis",))))
        folder = path[: path.rfind("/") + 1]
        for row in distinct(table.rows, self.skipped):
            inside = _inside(row["Path"], name)
            study = "/".join(inside.split("/")[1:3])
            self._groups.setdefault(study, []).append((f"{folder}{inside}", split, row))

    def _read_reports(self) -> dict[str, Report]:
        if self.folder.find_table("df_chexpert_plus_*.csv") is None:
            return {}
        _, table = self._table("df_chexpert_plus_*.csv", need=("path_to_image", "section_impression"), only=SECTIONS)
        texts: defaultdict[str, dict[str, dict[str, None]]] = defaultdict(dict)
        for row in table.rows:
            study = "/".join(PurePosixPath(row["path_to_image"]).parts[-3:-1])
            for column, section in SECTIONS.items():
                if row.get(column):
                    texts[study].setdefault(section, {})[row[column]] = None
        return {
            study: Report(sections={name: "\n\n".join(each) for name, each in sections.items()})
            for study, sections in texts.items()
        }

    def _studies(self) -> Iterator[Study]:
        for study_id, images in self._groups.items():
            first = images[0][2]
            yield Study(
                study_id=study_id,
                patient_id=study_id.split("/")[0],
                images=[ImageReference(path=self._path(path), projection=_projection(row)) for path, _, row in images],
                report=self._reports.get(study_id),
                labels={finding: self._value(first, finding) for finding in FINDINGS if finding in first},
                split=images[0][1],
                licence=self.licence,
                extra=_extra(first),
            )

    def _path(self, path: str) -> str:
        """Return a path, or that of its PNG copy where only this is there."""
        if path in self.folder.files:
            return path
        png = f"{path.removesuffix('.jpg')}.png"
        return png if png in self.folder.files else path

    def _value(self, row: Row, finding: str) -> LabelValue:
        if row[finding] not in VALUES:
            raise UserError(f"{self.name}: {row['Path']}: '{row[finding]}' in column '{finding}' is no label", "Mend the table.")
        return VALUES[row[finding]]


def _inside(path: str, table: str) -> str:
    """Return a path below the folder of the table: `CheXpert-v1.0-small/train/…` is `train/…`."""
    parts = path.split("/")
    start = next((place for place, part in enumerate(parts) if part.startswith("patient")), 0)
    if start == 0 or len(parts) - start < 3:
        raise UserError(f"{table}: '{path}' is not the path of a CheXpert image", "It reads …/train/patientN/studyN/viewN.jpg.")
    return "/".join(parts[start - 1 :])


def _projection(row: Row) -> Projection:
    if row.get("Frontal/Lateral") == "Lateral" or "_lateral" in row["Path"]:
        return "lateral"
    views: dict[str, Projection] = {"PA": "PA", "AP": "AP"}
    return views.get(row.get("AP/PA", ""), "unknown")


def _extra(row: Row) -> dict[str, str]:
    age = row.get("Age", "")
    extra = {"sex": SEX.get(row.get("Sex", ""), ""), "age": "" if age in ("0", "0.0") else age.removesuffix(".0")}
    return {name: text for name, text in extra.items() if text}
