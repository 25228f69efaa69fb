"""Bring your own CT volumes, text and labels: a table with one row per volume."""

from __future__ import annotations

from pathlib import Path

from lingula.core.errors import UserError
from lingula.core.types import VolumeMask
from lingula.data.readers import UnreadableImage
from lingula.data.sources.csv_config import NONE, CsvConfig
from lingula.data.sources.csv_regions import RLE
from lingula.data.sources.csv_table import CsvStudies
from lingula.data.sources.sidecar import Sidecar
from lingula.data.sources.sidecar_config import SidecarConfig
from lingula.data.study import Scan, Study
from lingula.data.volume_reader import Volume, check_same_grid, read_volume


class CsvVolumeSource(CsvStudies):
    """A table of CT volumes (.nii, .nii.gz, .nrrd, .mha, .mhd) with text, labels and regions; see `CsvStudies`.

    Args:
        table: The CSV (or .tsv) file.
        root: Folder that the paths are relative to; None: the table's own folder.
        config: Which columns mean what.
        sidecar: A table of slope, intercept and voxel size.

    Raises:
        UserError: Table, folder or a column is missing, the table is empty, or none of its volumes exists.
    """

    volumes = True

    def __init__(
        self,
        table: Path | str,
        root: Path | str | None = None,
        config: CsvConfig | None = None,
        sidecar: SidecarConfig | None = None,
    ) -> None:
        super().__init__(table, root, config)
        beside = sidecar or SidecarConfig()
        self._sidecar = Sidecar(self.table.parent, beside) if beside.sidecar != NONE else None
        if self._sidecar:
            self._settings["sidecar"] = {**beside.model_dump(mode="json"), "sha256": self._sidecar.sha256}

    def read(self, study: Study, image_index: int) -> Scan:
        """Read one volume and its masks; everything above 0 is inside a mask.

        Raises:
            UnreadableImage: The file is broken, missing or no single volume in a known place, or its path leaves the root folder.
        """
        path = study.images[image_index].path
        volume = read_or_quarantine(self._inside(path))
        scan = Scan(self._sidecar.apply(volume, path) if self._sidecar else volume)
        for region, where in self._own_masks(study, image_index):
            try:
                scan.masks.append(self._read_mask(where, volume))
                scan.regions.append(region)
            except UnreadableImage as error:
                scan.problems.append((path if where.startswith(RLE) else where, f"mask: {error.reason}"))
        return scan

    def _read_mask(self, where: str, volume: Volume) -> VolumeMask:
        if where.startswith(RLE):
            raise UnreadableImage("run lengths are for radiographs")
        mask = read_or_quarantine(self._inside(where))
        try:
            check_same_grid(volume, mask)
        except UserError as error:
            raise UnreadableImage(error.problem) from None
        inside: VolumeMask = mask.voxels > 0
        if not inside.any():
            raise UnreadableImage("it is empty")
        return inside

    def _read_studies(self) -> list[Study]:
        return as_ct(super()._read_studies())


def as_ct(studies: list[Study]) -> list[Study]:
    """Return studies with all their images marked as CT."""
    marked = {"modality": "ct", "projection": "CT"}
    return [study.model_copy(update={"images": [image.model_copy(update=marked) for image in study.images]}) for study in studies]


def read_or_quarantine(path: Path) -> Volume:
    """Read a volume; what is wrong with it is a reason to leave it out, without its path.

    Raises:
        UnreadableImage: It cannot be read.
    """
    if not path.is_file():
        raise UnreadableImage("no such file")
    try:
        return read_volume(path)
    except UserError as error:
        raise UnreadableImage(error.problem.replace(str(path), "the file")) from None
