"""What the segmentation of CT volumes has of its own; nothing heavy is imported. All numbers are ours."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lingula.core.config import Config

HeadName = Literal["linear", "light", "unet"]


class VolumeSegmentConfig(Config):
    """How a decoder is put on a volume encoder, what it is trained on, and how whole volumes are predicted and scored."""

    head: tuple[HeadName, ...] = ("light",)
    """`linear`: one matrix from a token to the voxels of its patch; `light`: the tokens are enlarged, step by step, to voxels;
    `unet`: voxels of the same size join at every step."""
    width: int = Field(default=16, ge=1)
    """Channels of the decoder at the size of the voxels; each coarser step has twice as many; `linear` has none."""
    crop: int | None = Field(default=None, ge=1)
    """Voxels of a crop (and of a window) along each axis, a multiple of the patch; nothing: the crop of pre-training."""
    batch: int = Field(default=2, ge=1)
    """Crops per step, each of another volume, at most."""
    foreground: float = Field(default=0.5, ge=0, le=1)
    """Share of the crops that are placed so that they hold a voxel of a finding, where the volume has one."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window's side that it shares with the next one; logits are averaged with a Gaussian about each centre."""
    windows: int = Field(default=4, ge=1)
    """Windows that go through the network at once."""
    tolerance: float = Field(default=2.0, gt=0)
    """Distance, mm, up to which two surfaces agree in the normalised surface Dice."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.head:
            raise ValueError("head needs at least one choice")
        return self
