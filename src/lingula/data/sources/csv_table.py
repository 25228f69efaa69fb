"""Bring your own images, text and labels: a table with one row per image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lingula.core.errors import UserError
from lingula.core.types import Pixels, RegionMask
from lingula.data.readers import UnreadableImage, read_mask, read_radiograph
from lingula.data.run_length import decode_rle
from lingula.data.sources.csv_config import NONE, CsvConfig
from lingula.data.sources.csv_regions import RLE, RegionTables
from lingula.data.sources.rows import RowReader, check_named_columns
from lingula.data.sources.tables import Table, read_table
from lingula.data.study import Picture, Region, Study


class CsvStudies:
    """A table of images with text, labels and regions; a subclass reads the images.

    Args:
        table: The CSV (or .tsv) file.
        root: Folder that the image paths are relative to; None: the table's own folder.
        config: Which columns mean what.

    Raises:
        UserError: Table, folder or a column is missing, the table is empty, or none of its images exists.
    """

    volumes = False
    """Whether the images are CT volumes, whose boxes have six numbers."""

    def __init__(self, table: Path | str, root: Path | str | None = None, config: CsvConfig | None = None) -> None:
        self.config = config or CsvConfig()
        self.table = Path(table)
        self.root = Path(root) if root is not None else self.table.parent
        self.name = self.config.name or self.table.stem
        self.citation = self.config.citation
        self.licence = "per image"
        self._studies: list[Study] | None = None
        self._tables: tuple[Table, RegionTables] | None = None
        self._settings = self._check()

    def __iter__(self) -> Iterator[Study]:
        if self._studies is None:
            self._studies = self._read_studies()
        return iter(self._studies)

    def __len__(self) -> int:
        if self._studies is None:
            self._studies = self._read_studies()
        return len(self._studies)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to worker processes without the studies."""
        return {**self.__dict__, "_studies": None, "_tables": None}

    def settings(self) -> dict[str, object]:
        """Return the hashes of the tables, the root and the column mapping."""
        return dict(self._settings)

    def _own_masks(self, study: Study, image_index: int) -> Iterator[tuple[Region, str]]:
        """Yield the regions of one image that have a mask, with where it is."""
        for region in study.regions:
            if region.mask is not None and region.image_index == image_index:
                yield region, region.mask

    def _inside(self, path: str) -> Path:
        """Return the file that a path of the table means, refusing one that leaves the root folder."""
        root = os.path.abspath(self.root)
        file = os.path.normpath(os.path.join(root, path))
        if os.path.commonpath([root, file]) != root:
            raise UnreadableImage("path leaves the root folder")
        return Path(file)

    def _check(self) -> dict[str, object]:
        """Read the tables, check every named column, and return what determines the studies."""
        main = read_table(self.table)
        if not self.root.is_dir():
            raise UserError(f"no such folder of images: {self.root}", "Check the path given to --root.")
        main.require(self.config.image_column, "paths of the images")
        check_named_columns(main, self.config)
        if not main.rows:
            raise UserError(f"table {self.table} has no row", "It needs one row per image.")
        image = self.config.image_column
        if not any(self._exists(row[image]) for row in main.rows):
            remedy = "Is --root the folder that the paths are relative to?"
            raise UserError(
                f"none of the {len(main.rows)} images of {self.table} is in {self.root} (first: {main.rows[0][image]!r})", remedy
            )
        boxes, masks = self._region_table("boxes_table"), self._region_table("masks_table")
        self._tables = (main, RegionTables(boxes, masks, self.volumes))
        hashes = {part: table.sha256 for part, table in (("table", main), ("boxes", boxes), ("masks", masks)) if table}
        return {"root": str(self.root.resolve()), "sha256": hashes, "columns": self.config.model_dump(mode="json")}

    def _exists(self, path: str) -> bool:
        try:
            return bool(path) and self._inside(path).is_file()
        except UnreadableImage:
            return False

    def _region_table(self, field: str) -> Table | None:
        name: str = getattr(self.config, field)
        path = self.table.parent / name
        if name == NONE or (name == getattr(CsvConfig(), field) and not path.is_file()):
            return None
        return read_table(path)

    def _read_studies(self) -> list[Study]:
        if self._tables is None:
            self._check()
            return self._read_studies()
        main, regions = self._tables
        _check_regions(regions, {row[self.config.image_column] for row in main.rows}, self.table)
        self._tables = None
        return RowReader(main, self.config).studies(regions)


class CsvSource(CsvStudies):
    """A table of radiographs with text, labels and regions; see `CsvStudies`."""

    def read(self, study: Study, image_index: int) -> Picture:
        """Read one image and its masks.

        Raises:
            UnreadableImage: The file is broken or missing, or its path leaves the root folder.
        """
        pixels = read_radiograph(self._inside(study.images[image_index].path))
        regions: list[Region] = []
        masks: list[RegionMask | None] = []
        problems: list[tuple[str, str]] = []
        for region, where in self._own_masks(study, image_index):
            try:
                mask = self._read_mask(where, pixels)
                regions.append(region.model_copy(update={"box": _bounding_box(mask)}))
                masks.append(mask)
            except UnreadableImage as error:
                path = study.images[image_index].path if where.startswith(RLE) else where
                problems.append((path, f"mask: {error.reason}"))
        return Picture(pixels, regions, masks, problems)

    def _read_mask(self, mask: str, pixels: Pixels) -> RegionMask:
        if not mask.startswith(RLE):
            return read_mask(self._inside(mask))
        try:
            height, width = pixels.shape
            return decode_rle(mask.removeprefix(RLE), height, width, self.config.rle_dialect)
        except ValueError as error:
            raise UnreadableImage(f"run lengths: {error}") from None


def _check_regions(regions: RegionTables, images: set[str], table: Path) -> None:
    strangers = sorted(regions.images() - images)
    if strangers:
        problem = f"{len(strangers)} images with boxes or masks are not in {table} (first: {strangers[0]!r})"
        raise UserError(problem, "Mend the tables, or leave regions out with --boxes-table none --masks-table none.")


def _bounding_box(mask: RegionMask) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 around a mask.

    Raises:
        UnreadableImage: The mask is empty.
    """
    if not mask.any():
        raise UnreadableImage("it is empty")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
