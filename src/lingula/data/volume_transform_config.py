"""How a CT volume becomes what a model sees; free of torch and of image libraries, because the command line reads it."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from lingula.core.config import Config

Voxels: TypeAlias = Annotated[int, Field(ge=1)]
Orientation: TypeAlias = Literal["RAS", "SAR"]


class VolumeTransformConfig(Config):
    """Orientation, resampling, Hounsfield range, crop or pad; the defaults are those of colipri 0.1.3."""

    orientation: Orientation = "RAS"
    """Where the three axes point: `RAS` (right, front, head; colipri from 0.1.2 on) or `SAR` (head, front, right; before)."""
    spacing: float = Field(default=2.0, gt=0)
    """Voxel size along all axes after linear resampling, mm; nothing is smoothed before."""
    hu_range: tuple[float, float] = (-1000.0, 1000.0)
    """Hounsfield units that become -1 and 1; what lies outside is clamped."""
    check_hounsfield: bool = True
    """Refuse a volume without air or without soft tissue at their Hounsfield units: slope and intercept were not applied once."""
    size: Voxels | tuple[Voxels, Voxels, Voxels] | None = 192
    """Voxels along each axis after cropping or padding about the centre; nothing: as it comes."""

    @model_validator(mode="after")
    def _range_grows(self) -> Self:
        if not self.hu_range[0] < self.hu_range[1]:
            raise ValueError(f"the Hounsfield range {self.hu_range} must grow")
        return self

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Voxels along x, y and z, where they are fixed."""
        return (self.size,) * 3 if isinstance(self.size, int) else self.size


PRESETS: dict[str, VolumeTransformConfig] = {
    "colipri-0.1.3": VolumeTransformConfig(orientation="RAS"),
    "colipri-0.1.1": VolumeTransformConfig(orientation="SAR"),
}
"""What the published processor does, by the version of the package; which of both the weights were trained with is not known."""
