"""How a stored CT volume becomes what a model sees; free of torch, because the command line reads it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lingula.core.config import Config
from lingula.data.volume_transform_config import Voxels

Chance = Annotated[float, Field(ge=0, le=1)]


class VolumeCropConfig(Config):
    """Crop, Hounsfield range and variation of a CT volume. All of it is ours: no paper tells COLIPRI's crops or augmentation."""

    size: Voxels | tuple[Voxels, Voxels, Voxels] = 64
    """Voxels of a crop along all axes, or along x, y and z. Where the volume is smaller, its own minimum is padded about it."""
    hu_range: tuple[float, float] = (-1000.0, 1000.0)
    """Hounsfield units that become -1 and 1; what lies outside is clamped."""
    spread: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How far from the middle a crop may lie in training, as a share of the room there is; 0: always in the middle.

    What an encoder knows of places it counts from the crop's corner. Where evaluation sees the middle and a patch is much of a
    chest, crops from anywhere show it another chest."""
    flip: tuple[Chance, Chance, Chance] = (0.0, 0.0, 0.0)
    """Chance, in training, that x, y, z are mirrored; by default never: left and right matter in a chest."""
    shift: Annotated[float, Field(ge=0)] = 0.0
    """Largest addition to all values of a crop in training, HU, to either side."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of a crop's contrast about 0 HU in training, to either side."""
    evaluation: Literal["centre", "whole"] = "centre"
    """What evaluation sees: the crop in the middle, or the whole volume, padded to a multiple of `whole_multiple`."""
    whole_multiple: Voxels = 8
    """What every side of a whole volume is padded to a multiple of: the side of a model's patches, voxels."""

    @model_validator(mode="after")
    def _range_grows(self) -> Self:
        if not self.hu_range[0] < self.hu_range[1]:
            raise ValueError(f"the Hounsfield range {self.hu_range} must grow")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of a crop along x, y and z."""
        return (self.size,) * 3 if isinstance(self.size, int) else self.size
