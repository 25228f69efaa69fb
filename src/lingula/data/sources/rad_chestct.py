"""RAD-ChestCT: chest CT of Duke University, resampled to 0.8 mm, with findings and their places read out of the reports by rules.

Citation: Draelos et al., "Machine-learning-based multiple abnormality prediction with large-scale chest computed tomography
volumes", Medical Image Analysis 2021.
Licence: as the record says.
Download: https://zenodo.org/records/6406114: the volumes NAME.npz (an array called ct), CT_Scan_Metadata_Complete_35747.csv and
img{train,valid,test}_Abnormality_and_Location_Labels.csv, all below one folder.

Quirks: an .npz file says neither voxel size nor orientation; 0.8 mm and axes that run to feet, back and left are what users of
it take (RadFinder's code; the column names of the record's table of extrema agree). Columns of findings are called finding*place.
The 16 classes in which models of CT-RATE are evaluated are made of them: a finding is present where it is at any place;
calcification stands for CT-RATE's two, mosaic attenuation has none, nodules above 1 cm are nodules, medical material is any of
eight devices (a third party's choice). None of this is checked on real files.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from lingula.core.errors import UserError
from lingula.data.readers import UnreadableImage
from lingula.data.sources.public_volumes import PublicVolumeSource, ct
from lingula.data.sources.published_rows import by_key, distinct, number
from lingula.data.sources.tables import Row, read_table
from lingula.data.split_rules import SplitRule, only_test, published
from lingula.data.study import Scan, Split, Study
from lingula.data.volume_reader import Volume

METADATA = "ct_scan_metadata_complete_35747.csv"
TABLES: dict[Split, str] = {
    "train": "imgtrain_abnormality_and_location_labels.csv",
    "val": "imgvalid_abnormality_and_location_labels.csv",
    "test": "imgtest_abnormality_and_location_labels.csv",
}
SCAN, PATIENT = "NoteAcc_DEID", "MRN_DEID"
ENDING = ".npz"
FINDINGS: dict[str, tuple[str, ...]] = {
    "Medical material": (
        *("catheter_or_port", "chest_tube", "clip", "gi_tube", "hardware", "pacemaker_or_defib", "stent", "tracheal_tube"),
    ),
    "Calcification": ("calcification",),
    "Cardiomegaly": ("cardiomegaly",),
    "Pericardial effusion": ("pericardial_effusion",),
    "Hiatal hernia": ("hernia",),
    "Lymphadenopathy": ("lymphadenopathy",),
    "Emphysema": ("emphysema",),
    "Atelectasis": ("atelectasis",),
    "Lung nodule": ("nodule", "nodulegr1cm"),
    "Lung opacity": ("opacity",),
    "Pulmonary fibrotic sequela": ("fibrosis",),
    "Pleural effusion": ("pleural_effusion",),
    "Peribronchial thickening": ("bronchial_wall_thickening",),
    "Consolidation": ("consolidation",),
    "Bronchiectasis": ("bronchiectasis",),
    "Interlobular septal thickening": ("septal_thickening",),
}
"""CT-RATE's name of a class to RAD-ChestCT's findings."""
CLASS_OF = {finding: name for name, findings in FINDINGS.items() for finding in findings}
SPACING = 0.8
"""mm, along all axes."""
AFFINE = np.array([[0, 0, -SPACING, 0], [0, -SPACING, 0, 0], [-SPACING, 0, 0, 0], [0, 0, 0, 1]])
"""Axes to feet, back and left, as RAS+; where the origin is, nobody says."""


class RadChestCtSource(PublicVolumeSource):
    """RAD-ChestCT as released; a study is a volume."""

    name = "rad-chestct"
    citation = "Draelos et al., RAD-ChestCT, Medical Image Analysis 2021"
    licence = "as Zenodo record 6406114 says"
    endings = (ENDING,)
    rules: Mapping[str, SplitRule] = {
        "official": SplitRule("the published tables of train, valid and test", published, "Draelos et al. 2021"),
        "external": SplitRule(
            "everything is test, for models of other data", only_test, "as models of CT-RATE are evaluated on it"
        ),
    }
    _heavy = ("_rows", "_patients")

    def _open(self) -> None:
        _, table = self._table(METADATA, need=(SCAN, PATIENT), only=())
        self._patients = {name: row[PATIENT] for name, row in by_key(table.rows, SCAN, table).items()}
        self._rows: dict[str, tuple[Split, Row]] = {}
        for split, name in TABLES.items():
            for scan, row in self._read_labels(name).items():
                if scan in self._rows:
                    raise UserError(f"{self.name}: {scan} is in two tables of findings", "Download them again.")
                self._rows[scan] = split, row

    def _read_labels(self, name: str) -> dict[str, Row]:
        path = self.folder.table(name)
        table = read_table(self.root / path, fold=_classes)
        table.require(SCAN, f"as {self.name} publishes it")
        there = {column.partition("*")[0] for column in table.columns if "*" in column}
        missing = sorted(set(CLASS_OF) - there)
        if missing:
            raise UserError(f"table {table.path} has no column {missing[0]}*…", "Is it the published table?")
        self.hashes[PurePosixPath(path).name] = table.sha256
        return by_key(distinct(table.rows, self.skipped), SCAN, table)

    def _studies(self) -> Iterator[Study]:
        for scan, (split, row) in self._rows.items():
            if scan not in self._patients:
                raise UserError(f"{self.name}: the table of metadata has no row about {scan}", "Download it again.")
            labels: dict[str, Literal[1, 0]] = {finding: 1 if row[finding] == "1" else 0 for finding in FINDINGS}
            yield Study(
                study_id=scan,
                patient_id=self._patients[scan],
                images=[ct(self.folder.named(f"{scan}{ENDING}") or f"{scan}{ENDING}")],
                labels={**labels},
                split=split,
                licence=self.licence,
            )

    def read(self, study: Study, image_index: int) -> Scan:
        """Read one volume.

        Raises:
            UnreadableImage: The file is broken, missing or holds no volume called ct.
        """
        return Scan(_read(self.root / study.images[image_index].path))


def _classes(row: Row) -> Row:
    """Return the scan's name and each class, 1 where one of its findings is at any place; a blank cell is as good as 0.

    >>> _classes({"NoteAcc_DEID": "trn1", "nodule*lung": "0", "nodulegr1cm*left_lung": "1.0"})["Lung nodule"]
    '1'

    Raises:
        UserError: A finding is something other than 0 or 1.
    """
    found = set()
    for name, cell in row.items():
        finding = CLASS_OF.get(name.partition("*")[0]) if cell not in ("0", "") else None
        if finding is None or (value := number(cell)) == 0:
            continue
        if value != 1:
            raise UserError(
                f"rad-chestct: '{cell}' in column '{name}' of {row.get(SCAN)} is not 0 or 1", "Download the table again."
            )
        found.add(finding)
    return {SCAN: row.get(SCAN, ""), **{name: "1" if name in found else "0" for name in FINDINGS}}


def _read(path: Path) -> Volume:
    if not path.is_file():
        raise UnreadableImage("no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            return Volume(file["ct"], AFFINE)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UnreadableImage(f"no .npz file with a volume called ct ({str(error).splitlines()[0]})") from None
    except UserError as error:
        raise UnreadableImage(error.problem) from None
