"""Merlin: 25,494 CT scans of abdomen and pelvis of 18,317 patients of Stanford, with reports and 30 findings.

Citation: Blankemeier et al., "Merlin: a computed tomography vision-language foundation model and dataset", Nature 2026
(arXiv 2406.06512).
Licence: Stanford's data use agreement: personal, non-commercial research.
Download: https://stanfordaimi.azurewebsites.net/datasets/60b9c7ff-877b-48ce-96c3-0194c8205c40, and after its form azcopy with the
address that comes by mail. --root is merlinabdominalctdataset/: merlin_data/ with a volume a scan (AC421363e.nii.gz),
reports_final.xlsx (or saved as .csv), zero_shot_findings_disease_cls.csv, metadata.csv.

Layout from the authors' documentation/download.md (files; 1, 0 and -1; the columns of metadata.csv) and from public code of its
users (names of the volumes, `study id`, `Findings`, `Split`, the 30 findings). Some users have `study_id`; both are read.

Quirks: `Findings` holds the whole report; what follows IMPRESSION: is the impression. -1 is "not mentioned", not uncertain: such
a finding is unknown here. Labels are those of regular expressions, and some scans have none; some are not in metadata.csv. What
was taken out is written <DELETED> or &lt;DELETED&gt;; both become the first. As a user's audit found, three ids have two
reports, a preliminary and a final one: the longer counts. Of the paper's 5,137 test scans 5,125 are published (Merlin's issue
42). No published file tells patients: whether the splits keep them apart cannot be checked, unless --patient-column names a
column that does; --split patient then draws others. Nothing of this is checked on real files, nor are the axes of the volumes.
The Hounsfield check of `lingula data prepare` was made for chests; --no-check-hounsfield leaves it out.
"""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Literal

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.public_volumes import PublicVolumeSource, ct
from lingula.data.sources.published_rows import distinct, number
from lingula.data.sources.tables import Row, Table
from lingula.data.split_rules import SplitRule, published, whole_patients
from lingula.data.splits import read_split
from lingula.data.study import Report, Study

STUDY = ("study id", "study_id")
"""What the column of ids is called."""
TEXT, SPLIT = "Findings", "Split"
BY_PATIENT = "patient"
REPORTS = ("reports_final.xlsx", "reports_final.csv")
LABELS, METADATA = "zero_shot_findings_disease_cls.csv", "metadata.csv"
FINDINGS = (
    *("submucosal_edema", "renal_hypodensities", "aortic_valve_calcification", "coronary_calcification", "thrombosis"),
    *("metastatic_disease", "pancreatic_atrophy", "renal_cyst", "osteopenia", "surgically_absent_gallbladder", "atelectasis"),
    *("abdominal_aortic_aneurysm", "anasarca", "hiatal_hernia", "lymphadenopathy", "prostatomegaly", "biliary_ductal_dilation"),
    *("cardiomegaly", "splenomegaly", "hepatomegaly", "atherosclerosis", "ascites", "pleural_effusion", "hepatic_steatosis"),
    *("appendicitis", "gallstones", "hydronephrosis", "bowel_obstruction", "free_air", "fracture"),
)
"""Columns of the table of findings."""
ABOUT = ("phase", "manufacturer", "kvp", "slicethickness")
"""Columns of metadata.csv that are kept where they are there."""
FOLDER, ENDINGS = "merlin_data", (".nii.gz", ".nii")
Labels = dict[str, Literal[1, 0] | None]
_IMPRESSION = re.compile(r"\bIMPRESSION\s*:", re.IGNORECASE)
_FINDINGS = re.compile(r"\A\s*FINDINGS\s*:", re.IGNORECASE)


class MerlinConfig(PublicConfig):
    """Who is the patient."""

    patient_column: str = ""
    """Column of reports_final or metadata.csv that tells the patient; empty: every scan is a patient of its own."""


class MerlinSource(PublicVolumeSource):
    """Merlin's abdominal CT as published; a study is a scan."""

    name = "merlin"
    citation = "Blankemeier et al., Merlin, Nature 2026"
    licence = "Stanford data use agreement, non-commercial"
    reports = True
    settings_class = MerlinConfig
    rules: Mapping[str, SplitRule] = {
        "official": SplitRule(
            "the published splits",
            published,
            "column Split of reports_final.xlsx, counted by its users",
            sizes=(15_314, 5_055, 5_125),
            instead=BY_PATIENT,
        ),
        BY_PATIENT: SplitRule("80/10/10 by the patients that --patient-column tells", whole_patients(0.8, 0.1), "ours"),
    }
    _heavy = ("_rows", "_labels", "_about")

    def _open(self) -> None:
        config = self.config if isinstance(self.config, MerlinConfig) else MerlinConfig()
        self._patient = config.patient_column
        if not self._patient:
            if self.split_name == BY_PATIENT:
                raise UserError(f"split '{BY_PATIENT}' of {self.name} needs to know the patients", "Name their --patient-column.")
            self.notes = ("Patients are not told: every scan is taken for a patient of its own.",)
        path, table = self._table(*REPORTS, need=(TEXT, SPLIT), only=(*STUDY, self._patient))
        self._rows = self._one_a_study(table)
        self._labels = self._read_labels()
        self._about = self._read_about(path, table)

    def _one_a_study(self, table: Table) -> dict[str, Row]:
        """Return the row of each study; of several reports the longest, which is the final one."""
        key = _id_column(table)
        rows: dict[str, Row] = {}
        for row in distinct(table.rows, self.skipped):
            if not row[key]:
                self._skip("row without a study")
                continue
            other = rows.setdefault(row[key], row)
            if other is not row:
                self._skip("shorter report of a study that has two")
                if len(row[TEXT]) > len(other[TEXT]):
                    rows[row[key]] = row
        return rows

    def _read_labels(self) -> dict[str, Labels]:
        if self.folder.find_table(LABELS) is None:
            self._skip(f"table of findings ({LABELS}) that is not there")
            return {}
        _, table = self._table(LABELS, need=FINDINGS, only=STUDY)
        key = _id_column(table)
        found: dict[str, Labels] = {}
        for row in distinct(table.rows, self.skipped):
            labels: Labels = {finding: _value(row, finding, table) for finding in FINDINGS}
            other = found.setdefault(row[key], labels)
            if other != labels:
                self._skip("second row of a study's findings; where the two differ, the finding is unknown")
                found[row[key]] = {name: value if other[name] == value else None for name, value in labels.items()}
        self._skip("study without findings in their table", len(self._rows.keys() - found.keys()))
        return found

    def _read_about(self, path: str, reports: Table) -> dict[str, Row]:
        """Return what is known of each study besides report and findings, its patient too."""
        about: defaultdict[str, Row] = defaultdict(dict)
        tables = [reports]
        if self.folder.find_table(METADATA):
            tables.append(self._table(METADATA, only=(*STUDY, *ABOUT, self._patient))[1])
        for table in tables:
            key = _id_column(table)
            for row in table.rows:
                known = about[row[key]]
                for name in (*ABOUT, self._patient):
                    if row.get(name) and known.setdefault(name, row[name]) != row[name] and name == self._patient:
                        raise UserError(f"{self.name}: study {row[key]} has two patients in '{name}'", "Mend the table.")
        if self._patient and not any(self._patient in table.columns for table in tables):
            have = "; ".join(f"{table.path.name} has {', '.join(table.columns)}" for table in tables)
            raise UserError(f"no column '{self._patient}' in {path} or {METADATA} (--patient-column)", f"{have}.")
        if self._patient:
            self._skip(
                f"study without '{self._patient}', taken for a patient of its own",
                sum(not about[study].get(self._patient) for study in self._rows),
            )
        return dict(about)

    def _studies(self) -> Iterator[Study]:
        for study, row in self._rows.items():
            sections = _sections(row[TEXT])
            about = self._about.get(study, {})
            yield Study(
                study_id=study,
                patient_id=about.get(self._patient) or study,
                images=[ct(self._path(study))],
                report=Report(sections=sections) if sections else None,
                labels={**self._labels.get(study, {})},
                split=read_split(row[SPLIT]),
                licence=self.licence,
                extra={name: about[name] for name in ABOUT if name in about},
            )

    def _path(self, study: str) -> str:
        there = (self.folder.named(f"{study}{ending}") for ending in ENDINGS)
        return next((path for path in there if path), f"{FOLDER}/{study}{ENDINGS[0]}")


def _id_column(table: Table) -> str:
    return next((name for name in STUDY if name in table.columns), None) or table.require(STUDY[0], "as merlin publishes it")


def _value(row: Row, finding: str, table: Table) -> Literal[1, 0] | None:
    """Return 1, 0, or None for what is not mentioned."""
    value = number(row[finding])
    if value is None and not row[finding]:
        return None
    if value not in (1, 0, -1):
        raise UserError(f"table {table.path}: {finding} is {row[finding]!r}, not 1, 0 or -1", "Download it again.")
    return None if value == -1 else 1 if value else 0


def _sections(text: str) -> dict[str, str]:
    """Cut a report into findings and impression.

    >>> _sections("FINDINGS: Liver: &lt;DELETED&gt; normal. IMPRESSION: 1. Normal.")
    {'findings': 'Liver: <DELETED> normal.', 'impression': '1. Normal.'}
    """
    findings, *rest = _IMPRESSION.split(html.unescape(text))
    sections = {"findings": _FINDINGS.sub("", findings, count=1).strip(), "impression": " ".join(rest).strip()}
    return {name: each for name, each in sections.items() if each}
