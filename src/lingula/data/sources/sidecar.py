"""Slope, intercept and voxel size of volumes whose files do not say them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from lingula.core.errors import UserError
from lingula.data.readers import UnreadableImage
from lingula.data.sources.csv_config import NONE
from lingula.data.sources.sidecar_config import SidecarConfig
from lingula.data.sources.tables import Row, read_table
from lingula.data.volume_reader import Volume

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Sidecar:
    """What a table says about volumes: values are slope x stored + intercept, voxels have the given size.

    Args:
        folder: Where the table of images is.
        config: Which table, and which of its columns.

    Raises:
        UserError: The table or a column is missing, or says two things about one volume.
    """

    def __init__(self, folder: Path, config: SidecarConfig) -> None:
        self._config = config
        table = read_table(folder / config.sidecar)
        wanted = (config.sidecar_image_column, config.slope_column, config.intercept_column, *config.spacing_columns)
        for name in wanted:
            if name != NONE:
                table.require(name, "of the sidecar table")
        self.sha256 = table.sha256
        self._rows: dict[str, Row] = {}
        for row in table.rows:
            image = row[config.sidecar_image_column]
            if self._rows.setdefault(image, row) != row:
                raise UserError(f"table {table.path} has two different rows about '{image}'", "Keep one of them.")

    def apply(self, volume: Volume, image: str) -> Volume:
        """Return a volume with the slope, intercept and voxel size that the table gives it.

        Args:
            volume: As its file says it.
            image: Its path, as the table of images has it.

        Raises:
            UnreadableImage: The table says nothing about it, or a cell is no number.
        """
        row = self._rows.get(image) or self._rows.get(PurePosixPath(image).name)
        if row is None:
            raise UnreadableImage("the sidecar table has no row about it")
        return corrected(volume, row, self._config)


def corrected(volume: Volume, row: Row, config: SidecarConfig) -> Volume:
    """Return a volume with the slope, intercept and voxel size that a row of a table gives it.

    Args:
        volume: As its file says it.
        row: Of the table.
        config: Which columns of it.

    Raises:
        UnreadableImage: A cell is no number.
    """
    slope, intercept = _number(row, config.slope_column, 1.0), _number(row, config.intercept_column, 0.0)
    voxels = volume.voxels
    if (slope, intercept) != (1.0, 0.0):
        voxels = (voxels * slope + intercept).astype(np.float32)
    return Volume(voxels, _rescaled(volume, row, config))


def numbers_in(row: Row, columns: Iterable[str]) -> list[float]:
    """Return all numbers in some cells, in their order, whatever brackets and commas are about them.

    >>> numbers_in({"XYSpacing": "[0.75, 0.75]", "ZSpacing": "1.5"}, ("XYSpacing", "ZSpacing"))
    [0.75, 0.75, 1.5]
    """
    return [float(number) for name in columns for number in _NUMBER.findall(row[name])]


def _rescaled(volume: Volume, row: Row, config: SidecarConfig) -> np.ndarray:
    """Give the axes of an affine the table's lengths; the corner of the first voxel's centre stays."""
    affine = np.array(volume.affine, np.float64)
    columns = [name for name in config.spacing_columns if name != NONE]
    if not columns:
        return affine
    numbers = numbers_in(row, columns)
    spacing = {1: numbers * 3, 2: [*numbers[:1] * 2, *numbers[1:]], 3: numbers}.get(len(numbers))
    if spacing is None or min(spacing) <= 0:
        cells = ", ".join(row[name] for name in columns)
        raise UnreadableImage(f"the sidecar table gives no voxel size of one to three positive numbers ({cells})")
    affine[:3, :3] *= np.array(spacing) / volume.spacing
    return affine


def _number(row: Row, column: str, otherwise: float) -> float:
    if column == NONE:
        return otherwise
    try:
        number = float(row[column])
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise UnreadableImage(f"the sidecar table has no number in column '{column}' ({row[column] or 'blank'})")
    return number
