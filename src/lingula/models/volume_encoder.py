"""The volume encoder: a 3-D vision transformer with the numbers and state-dict names of Primus as colipri 0.1.3 ships it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lingula.core.errors import UserError
from lingula.core.patches import chosen_patches, patches_of
from lingula.core.types import KeptTokens, VolumeGrid, Volumes, VolumeTokens
from lingula.models.rotary import rotary_angles
from lingula.models.volume_block import VolumeBlock
from lingula.models.volume_config import VolumeEncoderConfig


class PatchStem(nn.Module):
    """Cut a volume into patches and map each to a token: a convolution whose stride is its size; name `proj`.

    It is computed as a matrix product, so that patches which are not looked at cost nothing.

    Args:
        config: Patch, channels, features.
    """

    def __init__(self, config: VolumeEncoderConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.proj = nn.Conv3d(config.channels, config.embed_dim, config.patch, config.patch)
        nn.init.kaiming_normal_(self.proj.weight, a=0.01)
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, volumes: Volumes, kept: KeptTokens | None = None) -> VolumeTokens:
        """Return one token per patch, in raster order, x slowest; or those of the kept patches, in the order of `kept`."""
        patches = patches_of(volumes, self.patch)
        if kept is not None:
            patches = chosen_patches(patches, kept)
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class VolumeTransformer(nn.Module):
    """The blocks and the norm behind them; names `blocks.N`, `norm`.

    Args:
        config: Depth, width, heads, stochastic depth, checkpointing.
    """

    def __init__(self, config: VolumeEncoderConfig) -> None:
        super().__init__()
        self.checkpointing = config.checkpointing
        self.blocks = nn.ModuleList(
            VolumeBlock(
                config.embed_dim,
                config.num_heads,
                config.hidden_dim,
                config.layer_scale,
                config.drop_path * number / max(config.depth - 1, 1),
                config.register_tokens,
            )
            for number in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim)
        self.apply(_initialise)
        for number, block in enumerate(self.blocks, start=1):
            for layer in (block.attn.proj, block.mlp.fc2):  # type: ignore[union-attr]
                layer.weight.data.div_(math.sqrt(2 * number))  # type: ignore[union-attr,operator]

    def forward(self, tokens: VolumeTokens, angles: Tensor) -> VolumeTokens:
        """Run all blocks and the last norm."""
        again = self.checkpointing and self.training and torch.is_grad_enabled()
        for block in self.blocks:
            tokens = checkpoint(block, tokens, angles, use_reentrant=False) if again else block(tokens, angles)
        normalised: Tensor = self.norm(tokens)
        return normalised


class VolumeEncoder(nn.Module):
    """A 3-D vision transformer for volumes of any size that the patch divides.

    Places are counted in patches from the corner of what is given to it, so the same weights read any size; there is no
    absolute position embedding. State-dict names are those of `Primus` of dynamic-network-architectures 0.4.4 without its
    decoder: `down_projection`, `eva`, `mask_token`, `register_tokens` (arXiv 2503.01835).

    Args:
        config: Width, depth, heads, patch and options.
    """

    mask_token: Tensor
    """`1 1 features`, all zero: what stands in the published network's grid for a patch it was not shown."""

    def __init__(self, config: VolumeEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.dimension: int = config.embed_dim
        self.down_projection = PatchStem(config)
        self.eva = VolumeTransformer(config)
        self.register_buffer("mask_token", torch.zeros(1, 1, config.embed_dim))
        if config.register_tokens:
            self.register_tokens = nn.Parameter(torch.randn(1, config.register_tokens, config.embed_dim) * 1e-6)

    def forward(self, volumes: Volumes) -> VolumeGrid:
        """Encode whole volumes.

        Raises:
            UserError: A side is not a multiple of the patch, or the channels are others.
        """
        grid = self.grid(volumes)
        return self.tokens(volumes).transpose(1, 2).reshape(len(volumes), self.dimension, *grid)

    def tokens(self, volumes: Volumes, kept: KeptTokens | None = None) -> VolumeTokens:
        """Encode volumes of which only some patches are looked at: what is dropped costs no attention.

        Args:
            volumes: Whole volumes.
            kept: Raster numbers of the patches to keep, the same count for each volume, none twice; None: all.

        Returns:
            `batch kept features`, in the order of `kept`; each token knows its place in the whole volume.

        Raises:
            UserError: As in `forward`.
            ValueError: `kept` has another batch.
            IndexError: `kept` names a patch that is not there; an assertion of the device on a GPU, which a look at the
                numbers would wait for.
        """
        grid = self.grid(volumes)
        angles = rotary_angles(grid, self.config.embed_dim // self.config.num_heads, volumes.device)
        if kept is not None:
            if kept.ndim != 2 or len(kept) != len(volumes):
                raise ValueError(f"kept must be `batch kept` for {len(volumes)} volumes, not {tuple(kept.shape)}")
            angles = angles[kept]
        tokens = self.down_projection(volumes, kept)
        count = self.config.register_tokens
        if count:
            tokens = torch.cat([self.register_tokens.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], dim=1)
        encoded: Tensor = self.eva(tokens, angles)
        return encoded[:, count:]

    def grid(self, volumes: Volumes) -> tuple[int, int, int]:
        """Return the patches along x, y and z of volumes that this encoder can read.

        Raises:
            UserError: They have other axes or channels, or a side is not a multiple of the patch.
        """
        if volumes.ndim != 5:
            problem = f"volumes must be `batch channel x y z`, not {tuple(volumes.shape)}"
            raise UserError(problem, "Add the missing axes, e.g. volume[None, None].")
        if volumes.shape[1] != self.config.channels:
            problem = f"volumes have {volumes.shape[1]} channels, the encoder reads {self.config.channels}"
            raise UserError(problem, "Give one grey value per voxel: `batch 1 x y z`." if self.config.channels == 1 else "")
        x, y, z = volumes.shape[2:]
        return self.config.grid((x, y, z))


def _initialise(module: nn.Module) -> None:
    """Linear layers start from a normal distribution of spread 0.02, cut off at two units, with zero bias."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
