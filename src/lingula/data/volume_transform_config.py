"""How a CT volume becomes what a model sees; free of torch and of image libraries, because the command line reads it."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from lingula.core.config import Config

Voxels: TypeAlias = Annotated[int, Field(ge=1)]
Orientation: TypeAlias = Literal["RAS", "SAR"]


def along_axes(spacing: float | tuple[float, float, float]) -> tuple[float, float, float]:
    """Return a voxel size along x, y and z, mm.

    >>> along_axes(2.0)
    (2.0, 2.0, 2.0)
    """
    return (spacing,) * 3 if isinstance(spacing, float | int) else spacing


def _positive(spacing: float | tuple[float, float, float]) -> float | tuple[float, float, float]:
    if not all(0 < length < float("inf") for length in along_axes(spacing)):
        raise ValueError(f"a voxel size of {spacing} mm must be positive")
    return spacing


Spacing: TypeAlias = Annotated[float | tuple[float, float, float], AfterValidator(_positive)]
"""Voxel size along all axes, or along x, y and z, mm."""


class VolumeTransformConfig(Config):
    """Orientation, resampling, Hounsfield range, crop or pad; the defaults are those of colipri 0.1.3."""

    orientation: Orientation = "RAS"
    """Where the three axes point: `RAS` (right, front, head; colipri from 0.1.2 on) or `SAR` (head, front, right; before)."""
    spacing: Spacing = 2.0
    """Voxel size along all axes, or along x, y and z, after linear resampling, mm; nothing is smoothed before."""
    hu_range: tuple[float, float] | None = (-1000.0, 1000.0)
    """Hounsfield units that become the ends of `value_range`; what lies outside is clamped. Nothing: each volume's mean becomes
    0 and its standard deviation 1."""
    value_range: tuple[float, float] = (-1.0, 1.0)
    """What a model sees at the ends of `hu_range`."""
    check_hounsfield: bool = True
    """Refuse a volume without air or without soft tissue at their Hounsfield units: slope and intercept were not applied once."""
    size: Voxels | tuple[Voxels, Voxels, Voxels] | None = 192
    """Voxels along each axis after cropping or padding about the centre; nothing: as it comes."""

    @model_validator(mode="after")
    def _ranges_grow(self) -> Self:
        for name, ends in (("Hounsfield range", self.hu_range), ("range of values", self.value_range)):
            if ends is not None and not ends[0] < ends[1]:
                raise ValueError(f"the {name} {ends} must grow")
        return self

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Voxels along x, y and z, where they are fixed."""
        return (self.size,) * 3 if isinstance(self.size, int) else self.size

    @property
    def spacings(self) -> tuple[float, float, float]:
        """Voxel size along x, y and z, mm."""
        return along_axes(self.spacing)


PRESETS: dict[str, VolumeTransformConfig] = {
    "colipri-0.1.3": VolumeTransformConfig(orientation="RAS"),
    "colipri-0.1.1": VolumeTransformConfig(orientation="SAR"),
    "ct-clip": VolumeTransformConfig(spacing=(0.75, 0.75, 1.5), size=(480, 480, 240)),
    "merlin": VolumeTransformConfig(spacing=(1.5, 1.5, 3.0), size=(224, 224, 160), value_range=(0.0, 1.0)),
    "nnssl-1mm": VolumeTransformConfig(spacing=1.0, hu_range=None, size=None),
}
"""What published systems do before their encoder.

- `colipri-0.1.3` and `colipri-0.1.1`: the processor by the version of the package; which of both the weights were trained with
  is not known.
- `ct-clip`: spacing, size and Hounsfield range of CT-CLIP, clamped after resampling as in its training. RAS and [-1, 1] are ours.
- `merlin`: RAS, spacing, size and [0, 1] of Merlin.
- `nnssl-1mm`: the z-score and 1 mm of nnSSL's plan `onemmiso`, nnU-Net's way of preprocessing. RAS is ours.
"""
