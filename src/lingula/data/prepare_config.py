"""How a store is prepared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lingula.core.config import Config
from lingula.data.volume_transform_config import Spacing, along_axes


class ShardConfig(Config):
    """How studies are split and shared out to shards, whatever their images are."""

    shard_studies: Annotated[int, Field(ge=1)] = 256
    """Studies per shard, the unit of work that is finished or not."""
    split_fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, val and test among patients whose split the source does not give."""
    split_seed: int = 0
    """Another number gives another split by patient."""

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> ShardConfig:
        if min(self.split_fractions) < 0 or abs(sum(self.split_fractions) - 1) > 1e-6:
            raise ValueError(f"split_fractions must be three shares that sum to 1, not {self.split_fractions}")
        return self


class PrepareConfig(ShardConfig):
    """Numbers that determine what a store of radiographs holds; another value makes another store."""

    size: Annotated[int, Field(ge=8, le=4096)] = 256
    """Side of the stored square image in pixels; the aspect is kept by black padding."""
    bit_depth: Literal[8, 16] = 8
    """Bits per stored grey value."""


class VolumeStoringConfig(Config):
    """What is done to a CT volume before it is stored, as int16 Hounsfield units."""

    orientation: Literal["RAS", "SAR"] = "RAS"
    """Of CT: where the stored axes point: right, front, head; or head, front, right."""
    spacing: Spacing | None = None
    """Of CT: voxel size after linear resampling, mm, along all axes or along x, y and z; None: as it comes."""
    hu_range: tuple[float, float] | None = (-1024.0, 3071.0)
    """Of CT: what lies outside is clamped, HU; by default to what 12 bits of a scanner hold. None: nothing is."""
    check_hounsfield: bool = True
    """Of CT: quarantine a volume without air or soft tissue at their Hounsfield units: slope and intercept not applied once."""
    least_voxels: Annotated[int, Field(ge=1)] = 8
    """Of CT: quarantine a volume with fewer voxels along any axis, as read: two slices are no volume."""

    @model_validator(mode="after")
    def _range_grows(self) -> VolumeStoringConfig:
        if self.hu_range is not None and not self.hu_range[0] < self.hu_range[1]:
            raise ValueError(f"the Hounsfield range {self.hu_range} must grow")
        return self

    def differences(self, other: VolumeStoringConfig) -> dict[str, tuple[str, str]]:
        """Return in which of orientation and voxel size two ways differ, and both values as the option takes them.

        >>> VolumeStoringConfig(spacing=2.0).differences(VolumeStoringConfig(spacing=(2.0, 2.0, 2.0)))
        {}
        >>> VolumeStoringConfig(spacing=2.0).differences(VolumeStoringConfig(spacing=(2.0, 2.0, 1.5)))
        {'spacing': ('2.0', '2.0 2.0 1.5')}
        """
        ours, theirs = self.grid_options(), other.grid_options()
        return {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}

    def grid_options(self) -> dict[str, str]:
        """Return orientation and voxel size as the options of `lingula data prepare` take them."""
        return {"orientation": self.orientation, "spacing": _as_option(self.spacing)}


def _as_option(spacing: Spacing | None) -> str:
    if spacing is None:
        return "None"
    sides = along_axes(spacing)
    return " ".join(str(float(side)) for side in (sides if len(set(sides)) > 1 else sides[:1]))


class PrepareVolumesConfig(VolumeStoringConfig, ShardConfig):
    """Numbers that determine what a store of CT volumes holds; another value makes another store."""

    kind: Literal["volumes"] = "volumes"
    """What tells such a store from one of radiographs."""
