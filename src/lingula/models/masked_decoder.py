"""The light decoder of masked-image modelling: from the tokens of the visible patches to the voxels of the others."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.patches import chosen_patches
from lingula.core.types import HiddenTokens, KeptTokens, VolumeTokens
from lingula.models.rotary import rotary_angles
from lingula.models.volume_block import VolumeBlock
from lingula.models.volume_config import VolumeEncoderConfig


class MaskedDecoder(nn.Module):
    """A learned token at each hidden place, blocks with rotary places over the whole grid, and one matrix to voxels (MAE).

    The blocks are the encoder's, as in nnSSL (two of them on Primus), without stochastic depth.

    Args:
        encoder: Width, heads and patch of the encoder whose tokens are decoded.
        blocks: How many.
        width: Features of a token in the decoder, a multiple of 6 per head; None: the encoder's.
    """

    def __init__(self, encoder: VolumeEncoderConfig, blocks: int = 2, width: int | None = None) -> None:
        super().__init__()
        config = encoder.model_validate(encoder.model_dump() | {"embed_dim": width or encoder.embed_dim})
        self.heads = config.num_heads
        self.embed = nn.Linear(encoder.embed_dim, config.embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(config.embed_dim))
        self.blocks = nn.ModuleList(
            VolumeBlock(config.embed_dim, config.num_heads, config.hidden_dim, config.layer_scale, 0.0) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(config.embed_dim)
        self.voxels = nn.Linear(config.embed_dim, math.prod(config.patch) * config.channels)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self, tokens: VolumeTokens, kept: KeptTokens, hidden: HiddenTokens, grid: tuple[int, int, int]
    ) -> Float[Tensor, "batch hidden voxels"]:
        """Predict the hidden patches, in the order of `hidden`.

        Args:
            tokens: `batch kept features`, of the visible patches.
            kept: Their raster numbers (x slowest).
            hidden: Raster numbers of those that are predicted.
            grid: Patches along x, y and z.
        """
        seen = self.embed(tokens)
        batch, _, width = seen.shape
        places = kept[..., None].expand(-1, -1, width)
        whole = self.mask_token.to(seen.dtype).expand(batch, math.prod(grid), -1).scatter(1, places, seen)
        angles = rotary_angles(grid, width // self.heads, tokens.device)
        for block in self.blocks:
            whole = block(whole, angles)
        predicted: Tensor = self.voxels(self.norm(chosen_patches(whole, hidden)))
        return predicted
