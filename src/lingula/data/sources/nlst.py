"""NLST: low-dose chest CT of the National Lung Screening Trial, 26,254 participants with up to three yearly screenings each.

Citation: National Lung Screening Trial Research Team, "Data from the National Lung Screening Trial (NLST)", The Cancer Imaging
Archive 2013, 10.7937/TCIA.HMQ8-J677; Aberle et al., "Reduced lung-cancer mortality with low-dose computed tomographic
screening", New England Journal of Medicine 2011.
Licence: CC BY 4.0 as those who derive data sets from it state; TCIA's data usage policy.
Download: https://www.cancerimagingarchive.net/collection/nlst/: the manifest (.tcia) with the NBIA Data Retriever, which writes
metadata.csv and NLST/PID/01-02-1999-NLST-LSS-16408/2.000000-0OPASEVZOOMB50f…-84839/1-001.dcm; or `idc download nlst`
(idc-index), which writes nlst/PID/StudyInstanceUID/CT_SeriesInstanceUID/*.dcm. Of the clinical data on the same page
nlst_780_prsn_idc_20210527.csv (participants) and nlst_780_ctab_idc_20210527.csv (abnormalities), anywhere below --root. All
tables are optional.

Layout from public code of NLST's users (folders, columns of metadata.csv) and of idc-index, and from the data dictionaries of
2021-05-27 (columns and codes of the clinical tables). Any folder that holds one series is read, whatever its name; two series in
one folder are quarantined.

Quirks: dates are shifted so that screenings T0, T1 and T2 are of 1999, 2000 and 2001. A screening has a reconstruction or two
with different kernels, often a localiser too (left out). A study is all series of one participant and date. Labels: what the
readers saw (twelve of the fifteen codes), absent where the screening was read (scr_iso 1 to 4) and not listed; and lung cancer
within 1 and 6 years of the scan by candx_days and scr_days, absent where the participant was known to be free of it for so long
(canc_free_days), else unknown: this release has no fup_days. There are no reports and no official split. A series with fewer
files than metadata.csv says counts as missing. None of this is checked on real files.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from lingula.core.errors import UserError
from lingula.core.files import sha256_of
from lingula.data.dicom_series import read_series
from lingula.data.sources.nlst_series import COLUMNS, Series, found_series, listed_series
from lingula.data.sources.nlst_tables import (
    CODE,
    PERSON,
    PID,
    SEX,
    YEAR,
    Labels,
    abnormalities,
    cancer_labels,
    reader_labels,
    study_year,
)
from lingula.data.sources.public_volumes import PublicVolumeSource, ct
from lingula.data.sources.published_rows import by_key, distinct
from lingula.data.sources.tables import Row, Table, read_table
from lingula.data.split_rules import SplitRule, whole_patients
from lingula.data.study import ImageReference, Scan, Study

METADATA = "metadata.csv"
PARTICIPANTS, ABNORMALITIES = "nlst_*_prsn_idc_*.csv", "nlst_*_ctab_idc_*.csv"


class NlstSource(PublicVolumeSource):
    """NLST's CT as TCIA or IDC download it; a study is a participant's screening with its series."""

    name = "nlst"
    citation = "National Lung Screening Trial Research Team, TCIA 2013, 10.7937/TCIA.HMQ8-J677"
    licence = "CC BY 4.0, TCIA data usage policy"
    endings: tuple[str, ...] = (".dcm",)
    rules: Mapping[str, SplitRule] = {
        "patient": SplitRule("80/10/10 by participant", whole_patients(0.8, 0.1), "ours; there is no official split"),
    }
    notes = ("There are no reports.",)
    _heavy = ("_screenings", "_people", "_seen")

    def _open(self) -> None:
        listed: dict[str, Series] = {}
        for one in self._listed():
            other = listed.setdefault(one.uid, one)
            if replace(other, folder=one.folder) != one:
                raise UserError(f"{METADATA} of {self.name} has two different rows of series {one.uid}", "Keep one of them.")
        series = listed if self.tables_only else self._present_and_missing(listed)
        self._slices = {each.image: each.files for each in series.values() if each.files}
        self._screenings: dict[tuple[str, str], list[Series]] = {}
        for each in series.values():
            self._screenings.setdefault((each.patient, each.date or each.study), []).append(each)
        if not self._screenings:
            self.folder.table(METADATA)
            raise UserError(f"no CT series of {self.name} below {self.root}", f"Left out: {dict(self.skipped)}.")
        self.hashes["series"] = sha256_of(json.dumps([(each.uid, each.image, len(each.files)) for each in series.values()]))
        people = self._optional(PARTICIPANTS, PERSON)
        self._people: dict[str, Row] = by_key(distinct(people.rows, self.skipped), PID, people) if people else {}
        if people:
            unknown = sum(patient not in self._people for patient, _ in self._screenings)
            self._skip("screening of a participant without a row in the tables", unknown)
        seen = self._optional(ABNORMALITIES, (PID, YEAR, CODE))
        self._seen = abnormalities(seen.rows, self.skipped) if seen else None

    def _listed(self) -> Iterator[Series]:
        """Yield the series of every metadata.csv below the root: each manifest has its own."""
        for path in sorted(self.folder.files):
            if PurePosixPath(path).name.lower().removesuffix(".gz") == METADATA:
                table = read_table(self.root / path, COLUMNS)
                for column in COLUMNS:
                    table.require(column, "as the NBIA Data Retriever writes it")
                self.hashes[path] = table.sha256
                yield from listed_series(table, path, self.skipped)

    def _present_and_missing(self, listed: Mapping[str, Series]) -> dict[str, Series]:
        """Return the series that are there, and those that a table lists and that are not.

        Of the slices the folder then knows only the first one of every series that is there in full.
        """
        files = self.folder.images()
        found = found_series(self.root, files, self.skipped)
        series = {uid: each for uid, each in listed.items() if not {uid, each.folder} & found.others}
        there: dict[str, Series] = {}
        for each in found.series:
            other = there.get(each.uid)
            if other is not None:
                self._skip("series that is there twice")
            if other is None or len(each.files) > len(other.files):
                there[each.uid] = replace(each, expected=listed[each.uid].expected if each.uid in listed else 0)
        self.folder.files -= files
        self.folder.files |= {each.image for each in there.values()} & files
        return series | there

    def _optional(self, pattern: str, columns: Sequence[str]) -> Table | None:
        if self.folder.find_table(pattern) is None:
            self._skip(f"table ({pattern}) that is not there")
            return None
        return self._table(pattern, need=columns, only=())[1]

    def _studies(self) -> Iterator[Study]:
        for (patient, when), series in self._screenings.items():
            person, year = self._people.get(patient), study_year(series[0].date)
            labels: Labels = {}
            extra = {} if year is None else {"screening": f"T{year}"}
            if person is not None:
                told = {"sex": SEX.get(person["gender"], ""), "age_at_randomisation": person["age"]}
                extra |= {name: text for name, text in told.items() if text}
            if person is not None and year is not None:
                labels = {} if self._seen is None else reader_labels(person, year, self._seen)
                labels |= cancer_labels(person, year)
            yield Study(
                study_id=f"{patient}_{when}",
                patient_id=patient,
                images=[ct(each.image) for each in series],
                labels={**labels},
                licence=self.licence,
                extra=extra,
            )

    def part(self, studies: Sequence[Study]) -> NlstSource:
        """Return a source that knows the files of these studies' series only."""
        light = copy.copy(self)
        light._slices = {image.path: self._slices[image.path] for study in studies for image in study.images}
        return light

    def files(self, image: ImageReference) -> list[Path]:
        """Return the slices of a series."""
        return [self.root / name for name in self._slices[image.path]]

    def read(self, study: Study, image_index: int) -> Scan:
        """Read one series.

        Raises:
            UnreadableImage: A slice is damaged, missing, doubled, or of another orientation, or the gantry was tilted.
        """
        return Scan(read_series(self.files(study.images[image_index])))
