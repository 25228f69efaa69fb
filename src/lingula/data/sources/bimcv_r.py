"""BIMCV-R: 8,069 chest CT volumes of the Valencian region, with Spanish reports, their translations, and findings.

Citation: Chen et al., "BIMCV-R: a landmark dataset for 3D CT text-image retrieval", MICCAI 2024 (arXiv 2403.15992).
Licence: academic research only, after an application, as its card says (whose header says MIT); BIMCV's own agreement besides.
Download: https://huggingface.co/datasets/cyd0806/BIMCV-R (after its terms are accepted), unpacked below one folder: CT*/ct/ with
sub-S321116_ses-E76384_run-4_bp-chest_ct.nii.gz, and one of the tables BIMCV_meta.csv, curated_ct_report_path_En.csv (in meta/),
BIMCV-R.csv.

Layout from the authors' code (MedFinder: folders, curated_ct_report_path_En.csv with `path` and `Report_en`) and from 1,628 rows
of BIMCV_meta.csv that a third party published. Which columns BIMCV-R.csv has could not be found out: --image-column and
--report-column name them.

Quirks: paths in the tables are those of the authors' machine, so volumes are found by their names, which tell patient and
session; `path` is a folder where there is `ct_path`. `Report` is Spanish, in lower case and without accents, `Report_en` a
machine's translation with errors ("goalstases" for metastases). `Labels` are those of PadChest, a Python list in text.

In BIMCV_meta.csv the volumes of patients without COVID have reports of other patients: all 282 such rows that could be seen
(covid19_neg, the last ones) name another patient and session than their volume, 115 of them with the very report of a
covid19_posi row; the 1,346 others agree. A volume whose row contradicts it keeps neither report nor findings. The other tables
may be right: nothing is known of them to compare. MedFinder takes the first 80 % of its rows for train and the rest for val and
test alike. None of this is checked on real volumes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from lingula.core.errors import UserError, nearest
from lingula.data.sources.listed_findings import LEAST, as_labels, frequent, listed_findings
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.public_volumes import PublicVolumeSource, ct
from lingula.data.sources.published_rows import by_key, distinct
from lingula.data.sources.tables import Row, Table
from lingula.data.split_rules import SplitRule, published, whole_patients
from lingula.data.study import Report, Split, Study

TABLES = ("bimcv_meta.csv", "curated_ct_report_path_en.csv", "bimcv-r.csv")
IMAGE = ("ct_path", "path")
"""Columns of volumes; the first that is there."""
PATIENT, SESSION, FINDINGS = "PatientID", "ReportID", "Labels"
TRAIN_SHARE = 0.8
"""MedFinder's, of the rows."""
Key = tuple[str, str]
"""Patient and session."""
_NAME = re.compile(r"(sub-S\d+)_(ses-E\d+)_.+\.nii(\.gz)?")


class BimcvRConfig(PublicConfig):
    """Which columns of the table are read."""

    image_column: str = ""
    """Column with the volumes' paths; empty: ct_path, or else path."""
    report_column: str = "Report_en"
    """Column with the reports; `Report` is the Spanish one."""


class BimcvRSource(PublicVolumeSource):
    """BIMCV-R as on Hugging Face; a study is a session with its volumes."""

    name = "bimcv-r"
    citation = "Chen et al., BIMCV-R, MICCAI 2024"
    licence = "academic research only, by application"
    reports = True
    settings_class = BimcvRConfig
    rules: Mapping[str, SplitRule] = {
        "patient": SplitRule("80/10/10 by patient", whole_patients(0.8, 0.1), "ours; there is no official split"),
        "medfinder": SplitRule(
            "the first 80 % of the table's rows are train, the rest test",
            published,
            "MedFinder's code",
            leak="it cuts between rows, so that a patient may be on both sides; in MedFinder's code val is test",
            instead="patient",
        ),
    }
    notes = ("English reports are a machine's translation; findings were read out of the Spanish ones.",)
    _heavy = ("_sessions", "_splits_by_row", "_found", "_frequent")

    def _open(self) -> None:
        self._options = self.config if isinstance(self.config, BimcvRConfig) else BimcvRConfig()
        _, table = self._table(*TABLES)
        self._image = self._image_column(table)
        if self._options.report_column not in table.columns:
            raise _no_column(table, self._options.report_column, "--report-column")
        keys = {row[self._image]: _key_of(row[self._image], table) for row in table.rows}
        train = {row[self._image] for row in table.rows[: int(TRAIN_SHARE * len(table.rows))]}
        self._sessions: dict[Key, list[Row]] = {}
        self._splits_by_row: dict[Key, Split] = {}
        for name, row in by_key(distinct(table.rows, self.skipped), self._image, table).items():
            self._sessions.setdefault(keys[name], []).append(row)
            self._splits_by_row.setdefault(keys[name], "train" if name in train else "test")
        self._found = {key: self._findings(key, rows) for key, rows in self._sessions.items()}
        self._frequent = frequent(self._found.values(), LEAST)
        self._skip("volume whose row tells another patient's report, left without it", self._contradicted())

    def _image_column(self, table: Table) -> str:
        if named := self._options.image_column:
            if named not in table.columns:
                raise _no_column(table, named, "--image-column")
            return named
        found = next((name for name in IMAGE if name in table.columns), None)
        if found is None:
            raise _no_column(table, " or ".join(IMAGE), "--image-column")
        return found

    def _findings(self, key: Key, rows: list[Row]) -> frozenset[str]:
        lists = (listed_findings(row.get(FINDINGS, ""), f"{self.name}: {row[self._image]}") for row in rows if _agrees(row, key))
        return frozenset().union(*lists)

    def _contradicted(self) -> int:
        return sum(not _agrees(row, key) for key, rows in self._sessions.items() for row in rows)

    def _studies(self) -> Iterator[Study]:
        for key, rows in self._sessions.items():
            texts = dict.fromkeys(row[self._options.report_column] for row in rows if _agrees(row, key))
            text = "\n\n".join(text for text in texts if text)
            yield Study(
                study_id="_".join(key),
                patient_id=key[0],
                images=[ct(self._path(row)) for row in rows],
                report=Report(sections={"text": text}) if text else None,
                labels={**as_labels(self._found[key], self._frequent)},
                split=self._splits_by_row[key],
                licence=self.licence,
            )

    def _path(self, row: Row) -> str:
        name = PurePosixPath(row[self._image]).name
        return self.folder.named(name) or name


def _key_of(path: str, table: Table) -> Key:
    found = _NAME.fullmatch(PurePosixPath(path).name)
    if found is None:
        problem = f"table {table.path}: {path!r} is no path of BIMCV-R's volumes"
        raise UserError(problem, "They are called sub-S321116_ses-E76384_run-4_bp-chest_ct.nii.gz; see --image-column.")
    return found[1], found[2]


def _agrees(row: Row, key: Key) -> bool:
    """Whether a row's patient and session, where it tells them, are those of its volume."""
    return all(row.get(name, told) == told for name, told in zip((PATIENT, SESSION), key, strict=True))


def _no_column(table: Table, name: str, option: str) -> UserError:
    near = nearest(name, table.columns)
    return UserError(
        f"table {table.path} has no column {name}", f"{near} Name it with {option}; it has {', '.join(table.columns)}.".strip()
    )
