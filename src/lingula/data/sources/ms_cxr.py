"""MS-CXR: 1,162 pairs of a phrase and a box in images of MIMIC-CXR, eight findings.

Citation: Boecking et al., "Making the most of text semantics to improve biomedical vision-language processing", ECCV 2022.
Licence: PhysioNet Credentialed Health Data License 1.5.0.
Download (credentialed account): https://physionet.org/content/ms-cxr/: MS_CXR_Local_Alignment_v1.0.0.csv or _v1.1.0.csv, below
one folder with the images of MIMIC-CXR-JPG (files/…), or with --images naming the folder that holds files/.

Quirks: one row per box, so a phrase with two boxes has two rows and one image may have several phrases; boxes are x, y, width,
height in pixels of the whole image, whose size the table gives; version 1.1.0 adds a column `split` of its own. The images are
MIMIC-CXR's: a model pre-trained on all of it has seen them with their reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig, PublicSource
from lingula.data.sources.published_rows import box_of, distinct, number
from lingula.data.sources.root_folder import RootFolder
from lingula.data.sources.tables import Row
from lingula.data.split_rules import SplitRule, only_test, published
from lingula.data.splits import read_split
from lingula.data.study import ImageReference, Picture, Region, Scan, Study

BOX = ("x", "y", "w", "h")


class MsCxrConfig(PublicConfig):
    """Where the images are, beside what every public data set asks."""

    images: Path | None = None
    """Folder that holds MIMIC-CXR-JPG's files/, where it is not below the root."""


class MsCxrSource(PublicSource):
    """Phrases with boxes, for grounding."""

    name = "ms-cxr"
    citation = "Boecking et al., BioViL, ECCV 2022"
    licence = "PhysioNet Credentialed Health Data License 1.5.0"
    settings_class = MsCxrConfig
    rules: Mapping[str, SplitRule] = {
        "test": SplitRule("everything is test", only_test, "as grounding is evaluated without training"),
        "published": SplitRule("the column `split` of version 1.1.0", published, "MS-CXR 1.1.0"),
    }
    notes = (
        "The images are MIMIC-CXR's: weights that were pre-trained on all of it have seen them and their reports. Its own column "
        "`split` is not MIMIC-CXR's.",
    )
    _heavy = ("_groups",)

    def __init__(self, root: Path | str, config: PublicConfig | None = None, tables_only: bool = False) -> None:
        self._images = config.images if isinstance(config, MsCxrConfig) else None
        super().__init__(root, config, tables_only)

    def _open(self) -> None:
        need = ("dicom_id", "category_name", "label_text", "path", *BOX, "image_width", "image_height")
        _, table = self._table("ms_cxr_local_alignment_*.csv", need=need)
        self._groups: dict[str, list[Row]] = {}
        for row in distinct(table.rows, self.skipped):
            self._groups.setdefault(row["path"], []).append(row)
        if self._images is not None:
            others = RootFolder(self._images)
            self.folder.files |= {path for path in self._groups if path in others.files}

    def _studies(self) -> Iterator[Study]:
        for path, rows in self._groups.items():
            parts = PurePosixPath(path).parts
            if len(parts) < 3:
                raise UserError(f"{self.name}: '{path}' is not the path of a MIMIC-CXR image", "It reads files/pNN/pN/sN/ID.jpg.")
            regions = [self._region(row) for row in rows]
            splits = {row.get("split", "") for row in rows}
            yield Study(
                study_id=rows[0]["dicom_id"],
                patient_id=parts[-3],
                images=[ImageReference(path=path)],
                labels=dict.fromkeys(sorted({region.finding for region in regions}), 1),
                regions=regions,
                split=read_split(splits.pop()) if len(splits) == 1 else None,
                licence=self.licence,
            )

    def _region(self, row: Row) -> Region:
        box = box_of(row, BOX)
        size = (number(row["image_width"]), number(row["image_height"]))
        if box is None or None in size:
            raise UserError(f"{self.name}: {row['dicom_id']}: box or size is no number", "Download the table again.")
        return Region(finding=row["category_name"], kind="pathology", box=box, phrase=row["label_text"])

    def read(self, study: Study, image_index: int) -> Picture | Scan:
        """Read one image, from the folder of the images where one was named.

        Raises:
            UnreadableImage: The file is broken or missing.
        """
        if self._images is None:
            return super().read(study, image_index)
        from lingula.data.readers import read_radiograph

        return Picture(read_radiograph(self._images / study.images[image_index].path))
