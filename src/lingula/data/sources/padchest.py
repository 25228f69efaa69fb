"""PadChest: 160,861 radiographs of 67,625 patients of San Juan Hospital, Alicante, Spanish reports, 174 findings.

Citation: Bustos et al., "PadChest: A large chest x-ray image dataset with multi-label annotated reports", Medical Image Analysis
2020.
Licence: BIMCV's research use agreement, no redistribution.
Download: https://bimcv.cipf.es/bimcv-projects/padchest/: PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv(.gz) and the
archives 0.zip … 54.zip, each unpacked into a folder of its number (ImageDir), or all images in one folder.

Quirks: `Labels` is a Python list in text, with blanks, empty words and repetitions inside; `unchanged`, `exclude` and `suboptimal
study` are no findings; reports are in Spanish, stemmed and without most endings; a quarter of the labels is by physicians
(`MethodLabel` Physician), the rest by a network; a year of birth, no age; projections PA, AP, AP_horizontal, L, COSTAL, EXCLUDE,
UNK; one StudyID holds images of two patients and is taken apart; some PNG files are broken and get quarantined. Findings that a
report does not list are absent; of findings rarer than `LEAST` studies only the presence is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lingula.data.sources.listed_findings import LEAST, as_labels, frequent, listed_findings
from lingula.data.sources.public import PublicSource
from lingula.data.sources.published_rows import by_key, distinct, number
from lingula.data.sources.root_folder import beside
from lingula.data.sources.tables import Row
from lingula.data.split_rules import SplitRule, whole_patients
from lingula.data.study import ImageReference, Projection, Report, Study

NEED = ("ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Report", "MethodLabel", "Labels")
KEPT = ("StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM")
VIEWS: dict[str, Projection] = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "lateral"}


class PadchestSource(PublicSource):
    """PadChest as BIMCV publishes it."""

    name = "padchest"
    citation = "Bustos et al., PadChest, Medical Image Analysis 2020"
    licence = "BIMCV research use agreement"
    reports = True
    rules: Mapping[str, SplitRule] = {
        "patient": SplitRule("80/10/10 by patient", whole_patients(0.8, 0.1), "ours; there is no official split"),
    }
    notes = ("Reports are stemmed Spanish: a language model for English reads little in them.",)
    _heavy = ("_groups", "_findings", "_frequent")

    def _open(self) -> None:
        path, table = self._table("padchest_chest_x_ray_images_labels*.csv", need=NEED, only=KEPT)
        self._groups: dict[str, list[tuple[str, Row]]] = {}
        self._findings: dict[str, frozenset[str]] = {}
        patients: dict[str, str] = {}
        for name, row in by_key(distinct(table.rows, self.skipped), "ImageID", table).items():
            nested = beside(path, f"{row['ImageDir']}/{name}")
            image = nested if nested in self.folder.files else self.folder.named(name) or nested
            study, patient = row["StudyID"], row["PatientID"]
            if patients.setdefault(study, patient) != patient:
                self._skip("image of another patient than the rest of its study, taken for a study of its own")
                study = f"{study}:{patient}"
            self._groups.setdefault(study, []).append((image, row))
        for study_id, images in self._groups.items():
            self._findings[study_id] = frozenset().union(*(_labels(row) for _, row in images))
        self._frequent = frequent(self._findings.values(), LEAST)

    def _studies(self) -> Iterator[Study]:
        for study_id, images in self._groups.items():
            rows = [row for _, row in images]
            texts = list(dict.fromkeys(row["Report"] for row in rows if row["Report"]))
            yield Study(
                study_id=study_id,
                patient_id=rows[0]["PatientID"],
                images=[ImageReference(path=path, projection=VIEWS.get(row["Projection"], "unknown")) for path, row in images],
                report=Report(sections={"text": "\n\n".join(texts)}) if texts else None,
                labels={**as_labels(self._findings[study_id], self._frequent)},
                licence=self.licence,
                extra=_extra(rows[0]),
            )


def _labels(row: Row) -> set[str]:
    return listed_findings(row["Labels"], f"padchest: {row['ImageID']}")


def _extra(row: Row) -> dict[str, str]:
    born, taken = number(row.get("PatientBirth", "")), number(row.get("StudyDate_DICOM", "")[:4])
    age = "" if born is None or taken is None or taken < born else str(int(taken - born))
    sex = row.get("PatientSex_DICOM", "")
    extra = {"sex": sex if sex in ("M", "F") else "", "age": age, "method": row["MethodLabel"], "view": row["Projection"]}
    return {name: text for name, text in extra.items() if text}
