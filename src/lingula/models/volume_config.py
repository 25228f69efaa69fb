"""Configuration of the volume encoder; importing it imports nothing heavy."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from lingula.core.config import Config
from lingula.core.errors import UserError

Positive: TypeAlias = Annotated[int, Field(ge=1)]
Triple: TypeAlias = tuple[Positive, Positive, Positive]
VolumeSize: TypeAlias = Literal["tiny", "small", "M"]


class VolumeEncoderConfig(Config):
    """A 3-D vision transformer; the defaults are Primus-M (arXiv 2503.01835) as the package colipri 0.1.3 builds it."""

    embed_dim: Positive = 864
    """Features of each token."""
    depth: Positive = 16
    """Transformer blocks."""
    num_heads: Positive = 12
    """Attention heads; each takes an equal share of the features, a multiple of 6 (3 axes, sine and cosine)."""
    patch_size: Positive | Triple = 8
    """Voxels along each axis that one token stands for."""
    channels: Positive = 1
    """Input channels."""
    mlp_ratio: float = Field(default=8 / 3, gt=0)
    """Width of the gated hidden layer over the width of a token."""
    layer_scale: float = 0.1
    """Start of the learned factor on each residual branch."""
    drop_path: float = Field(default=0.2, ge=0, lt=1)
    """Probability to skip the last block's branches in training; it grows linearly from 0 in the first block."""
    register_tokens: int = Field(default=0, ge=0)
    """Learned tokens without a place, put before the others and left out of the result."""
    checkpointing: bool = False
    """Keep only each block's input in training and compute the block again on the way back: less memory, a third more work."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.embed_dim % self.num_heads or self.embed_dim // self.num_heads % 6:
            problem = f"{self.num_heads} heads do not share {self.embed_dim} features in multiples of 6"
            raise ValueError(f"{problem}: take a multiple of {6 * self.num_heads} features")
        return self

    @property
    def patch(self) -> tuple[int, int, int]:
        """Voxels of a patch along x, y and z."""
        return self.patch_size if isinstance(self.patch_size, tuple) else (self.patch_size,) * 3

    @property
    def hidden_dim(self) -> int:
        """Width of the gated hidden layer."""
        return int(self.embed_dim * self.mlp_ratio)

    def grid(self, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the number of patches of a volume along x, y and z.

        Raises:
            UserError: A side is not a multiple of the patch.
        """
        check_divisible(size, self.patch, "a volume")
        x, y, z = (side // step for side, step in zip(size, self.patch, strict=True))
        return x, y, z

    def forward_flops(self, size: tuple[int, int, int], keep: float = 1.0) -> int:
        """Count the floating-point operations of matrix products of one volume's forward pass.

        Args:
            size: Voxels along x, y and z.
            keep: Share of the tokens that is kept.
        """
        kept = round(math.prod(self.grid(size)) * keep)
        tokens = kept + self.register_tokens
        linear = 4 * self.embed_dim**2 + 3 * self.embed_dim * self.hidden_dim
        stem = kept * math.prod(self.patch) * self.channels * self.embed_dim
        return 2 * (stem + self.depth * (tokens * linear + 2 * tokens**2 * self.embed_dim))


def check_divisible(
    size: tuple[int, ...], patch: tuple[int, int, int], what: str, remedy: str = "Crop to {lower} or pad to {upper}."
) -> None:
    """Check that a patch divides a size along each axis.

    Args:
        size: Voxels along each axis.
        patch: Voxels of a patch.
        what: What has the size.
        remedy: What to do; it names the nearest sizes that the patch divides, lower and upper.

    Raises:
        UserError: It does not.
    """
    if all(side > 0 and side % step == 0 for side, step in zip(size, patch, strict=True)):
        return
    lower = "x".join(str(max(side // step, 1) * step) for side, step in zip(size, patch, strict=True))
    upper = "x".join(str(max(-(-side // step), 1) * step) for side, step in zip(size, patch, strict=True))
    shown, steps = "x".join(map(str, size)), "x".join(map(str, patch))
    problem = f"{what} of {shown} voxels cannot be cut into patches of {steps}"
    raise UserError(problem, remedy.format(lower=lower, upper=upper))


SIZES: dict[VolumeSize, VolumeEncoderConfig] = {
    "tiny": VolumeEncoderConfig(embed_dim=192, depth=6, num_heads=4, drop_path=0.0),
    "small": VolumeEncoderConfig(embed_dim=396, depth=12, num_heads=6, drop_path=0.1),
    "M": VolumeEncoderConfig(),
}
"""`M` is colipri's Primus-M; `small` has the width, depth and heads of Primus-S; `tiny` is ours, for CPUs."""
