"""CT-RATE: 50,188 reconstructions of 25,692 chest CT scans of 21,304 patients, with reports and 18 findings.

Citation: Hamamci et al., "Developing generalist foundation models from a multimodal dataset for 3D computed tomography",
arXiv 2403.17834.
Licence: CC BY-NC-SA 4.0.
Download: https://huggingface.co/datasets/ibrahimhamamci/CT-RATE (after its terms are accepted), the folder dataset/: of its
volumes train_fixed/ and valid_fixed/ (v2), or train/ and valid/ (v1), laid out as split/patient/scan/reconstruction,
valid_fixed/valid_53/valid_53_a/valid_53_a_1.nii.gz; of its tables radiology_text_reports/{train,validation}_reports.csv,
metadata/{train,validation}_metadata.csv, multi_abnormality_labels/{train,valid}_predicted_labels.csv, and
metadata/no_chest_{train,valid}.txt. One of the two splits alone is enough.

Quirks: the files of v1 hold stored values and their headers say neither slope, intercept nor voxel size: all come from the
table of metadata. Those of v2 hold Hounsfield units and true headers, while the same table still gives slope and intercept: who
applies them rescales twice (CT-CLIP issue 50). Which one it is is told by the folder's name (`_fixed` is v2) or by --release; the
Hounsfield check of `lingula data prepare` quarantines what was told wrongly. Some scanners' intercept is -8192, and v2 has -8192
around the field of view; both are clamped. Nine reconstructions of train are broken and are left out: train_11755_a_2, _3, _4,
train_1267_a_4, train_3821_a_5, train_9792_a_1 to _4. The two no_chest lists name scans without a chest (heads); --chest-only
leaves them out. Table and folder of the same split are called validation and valid. Findings are those of a text classifier, the
same for all reconstructions of a scan. Whether the axes of v1's files lie as their headers say is not checked on real files.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from lingula.core.errors import UserError
from lingula.data.readers import UnreadableImage
from lingula.data.sources.ct_rate_tables import (
    BETWEEN,
    ENDING,
    FINDINGS_TEXT,
    IN_PLANE,
    SECTIONS,
    CtRateScan,
    Part,
    colipri_scans,
    listed_scans,
    scans_of,
)
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.public_volumes import PublicVolumeSource, ct
from lingula.data.sources.published_rows import by_key, distinct, number
from lingula.data.sources.sidecar import corrected
from lingula.data.sources.sidecar_config import SidecarConfig
from lingula.data.sources.tables import Row, Table, read_text
from lingula.data.split_rules import SplitRule, hold_out_patients, published
from lingula.data.study import Report, Scan, Split, Study
from lingula.data.text.ct_lexicon import CT_FINDINGS

TABLES: dict[Part, str] = {"train": "train", "valid": "validation"}
"""Split as the volumes call it to what the tables of reports and metadata call it."""
SPLITS: dict[Part, Split] = {"train": "train", "valid": "test"}
FIXED = "_fixed"
SIDECAR = SidecarConfig(
    sidecar_image_column="VolumeName",
    slope_column="RescaleSlope",
    intercept_column="RescaleIntercept",
    spacing_columns=(IN_PLANE, BETWEEN),
)
SIDECAR_COLUMNS = (SIDECAR.slope_column, SIDECAR.intercept_column, IN_PLANE, BETWEEN)
COLIPRI = "colipri"
Release = Literal["v1", "v2"]
READ_AS: dict[Release, str] = {
    "v1": "Read as v1: the table's slope, intercept and voxel size are applied; v2 would be rescaled twice (--release v2).",
    "v2": "Read as v2: files hold Hounsfield units; the table's slope and intercept are not applied again.",
}


class CtRateConfig(PublicConfig):
    """Which release of CT-RATE it is, and which scans are taken."""

    release: Literal["", "v1", "v2"] = ""
    """v1: slope, intercept and voxel size come from the table; v2: files hold Hounsfield units. Empty: v2 where a folder
    `*_fixed` holds volumes, else v1."""
    chest_only: bool = False
    """Leave out the scans that no_chest_train.txt and no_chest_valid.txt name."""


class CtRateSource(PublicVolumeSource):
    """CT-RATE as published; a study is a scan with its reconstructions."""

    name = "ct-rate"
    citation = "Hamamci et al., CT-RATE, arXiv 2403.17834"
    licence = "CC BY-NC-SA 4.0"
    reports = True
    settings_class = CtRateConfig
    rules: Mapping[str, SplitRule] = {
        "official": SplitRule(
            "the published valid split is test; a tenth of train by patient is val",
            hold_out_patients(share=0.1),
            "Hamamci et al., arXiv 2403.17834; val is ours",
        ),
        "published": SplitRule(
            "the published splits, valid as test, without val",
            published,
            "CT-RATE's card: 47,149 + 3,039 reconstructions, nine of train broken",
            sizes=(47_149, 0, 3_039),
        ),
        COLIPRI: SplitRule(
            "test is COLIPRI's evaluation set: the smallest in-plane voxels of each report, repeated findings dropped",
            hold_out_patients(share=0.1),
            "COLIPRI (arXiv 2510.15042) as RadFinder's code makes it; train alike, and val is ours",
        ),
    }
    _heavy = ("_scans", "_paths")

    def _open(self) -> None:
        self._options = self.config if isinstance(self.config, CtRateConfig) else CtRateConfig()
        self._paths: defaultdict[str, list[str]] = defaultdict(list)
        for path in sorted(self.folder.images()):
            self._paths[PurePosixPath(path).name].append(path)
        self._release = self._which_release()
        self.notes = (READ_AS[self._release],)
        self._metadata: dict[str, Row] = {}
        self._scans: list[CtRateScan] = []
        parts = [part for part in TABLES if self.folder.find_table(f"{TABLES[part]}_reports.csv")]
        if not parts:
            self.folder.table(*(f"{name}_reports.csv" for name in TABLES.values()))
        for part in TABLES:
            if part in parts:
                self._scans += self._read_part(part)
            else:
                self._skip(f"split without its table ({TABLES[part]}_reports.csv)")
        if not self._scans:
            raise UserError(f"no scan is left of {self.name} below {self.root}", "Check its tables, or --chest-only.")

    def _which_release(self) -> Release:
        if self._options.release:
            return self._options.release
        return "v2" if any(_is_fixed(path) for paths in self._paths.values() for path in paths) else "v1"

    def _read_part(self, part: Part) -> list[CtRateScan]:
        _, table = self._table(f"{TABLES[part]}_reports.csv", need=("VolumeName", FINDINGS_TEXT, "Impressions_EN"), only=SECTIONS)
        scans = scans_of(distinct(table.rows, self.skipped), part, self.skipped)
        _, table = self._table(f"{TABLES[part]}_metadata.csv", need=("VolumeName", *SIDECAR_COLUMNS), only=())
        metadata = _by_volume(table)
        self._metadata |= metadata
        self._add_labels(part, scans)
        if self._options.chest_only:
            scans = self._with_chest(part, scans)
        return list(colipri_scans(scans, metadata, self.skipped)) if self.split_name == COLIPRI else scans

    def _add_labels(self, part: Part, scans: list[CtRateScan]) -> None:
        name = f"{part}_predicted_labels.csv"
        if self.folder.find_table(name) is None:
            self._skip(f"table of findings ({name}) that is not there")
            return
        _, table = self._table(name, need=("VolumeName", *CT_FINDINGS), only=())
        rows = _by_volume(table)
        for scan in scans:
            found = [rows[volume] for volume in scan.volumes if volume in rows]
            if not found:
                self._skip("scan without findings in their table")
                continue
            if any(row[finding] != found[0][finding] for row in found for finding in CT_FINDINGS):
                self._skip("findings of a scan that differ between its reconstructions; the first one's are taken")
            scan.labels = {finding: _zero_or_one(found[0], finding, table) for finding in CT_FINDINGS}

    def _with_chest(self, part: Part, scans: list[CtRateScan]) -> list[CtRateScan]:
        path = self.root / self.folder.table(f"no_chest_{part}.txt")
        names = listed_scans(read_text(path).splitlines())
        kept = [scan for scan in scans if scan.name not in names]
        self._skip("scan without a chest, by no_chest list", len(scans) - len(kept))
        return kept

    def _studies(self) -> Iterator[Study]:
        for scan in self._scans:
            sections = {name: text for column, name in SECTIONS.items() if (text := scan.report.get(column, ""))}
            yield Study(
                study_id=scan.name,
                patient_id=scan.patient,
                images=[ct(self._path(scan, volume)) for volume in scan.volumes],
                report=Report(sections=sections) if sections else None,
                labels={**scan.labels},
                split=SPLITS[scan.part],
                licence=self.licence,
            )

    def _path(self, scan: CtRateScan, volume: str) -> str:
        """Return where a reconstruction is, of two releases in the one that is read; else where it should be."""
        found = self._paths.get(f"{volume}{ENDING}", [])
        fixed = self._release == "v2"
        folder = f"{scan.part}{FIXED if fixed else ''}"
        best = [path for path in found if _is_fixed(path) == fixed] or found
        return best[0] if best else f"dataset/{folder}/{scan.patient}/{scan.name}/{volume}{ENDING}"

    def settings(self) -> dict[str, object]:
        """Return what every public source does, and the release."""
        return {**super().settings(), "release": self._release}

    def part(self, studies: Sequence[Study]) -> CtRateSource:
        """Return a source that can read the volumes of these studies; it knows no other's metadata."""
        light = copy.copy(self)
        names = [_volume_of(image.path) for study in studies for image in study.images]
        light._metadata = {name: self._metadata[name] for name in names if name in self._metadata}
        return light

    def read(self, study: Study, image_index: int) -> Scan:
        """Read one volume, in Hounsfield units and of its true voxel size.

        Raises:
            UnreadableImage: The file is broken or missing; of v1, the table of metadata does not say slope, intercept and size.
        """
        scan = super().read(study, image_index)
        if self._release == "v2":
            return scan
        row = self._metadata.get(_volume_of(study.images[image_index].path))
        if row is None:
            raise UnreadableImage("the table of metadata has no row about it")
        return Scan(corrected(scan.volume, row, SIDECAR))


def _by_volume(table: Table) -> dict[str, Row]:
    """Return the rows by the volume's name without its ending, which they themselves no longer hold."""
    rows = by_key(table.rows, "VolumeName", table)
    return {
        name.removesuffix(ENDING): {column: cell for column, cell in row.items() if column != "VolumeName"}
        for name, row in rows.items()
    }


def _zero_or_one(row: Row, finding: str, table: Table) -> Literal[1, 0]:
    value = number(row[finding])
    if value not in (0, 1):
        raise UserError(f"table {table.path}: {finding} is {row[finding]!r}, not 0 or 1", "Download it again.")
    return 1 if value else 0


def _volume_of(path: str) -> str:
    return PurePosixPath(path).name.removesuffix(ENDING)


def _is_fixed(path: str) -> bool:
    return any(folder.endswith(FIXED) for folder in PurePosixPath(path).parts[:-1])
