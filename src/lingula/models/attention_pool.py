"""Attention pooling of a feature map by the mean of its cells (CLIP's, as G2D uses it)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.errors import UserError
from lingula.core.types import FeatureMap, ImageFeatures


class AttentionPool2d(nn.Module):
    """Pool a square grid: the mean cell, put before the others, asks all of them (arXiv 2103.00020; G2D's official names).

    It runs in the precision of its weights whatever autocast says: in bf16 many cells would be equal.

    State-dict names: `positional_embedding`, `mhsa.*`, `c_proj.*`.

    Args:
        spatial: Side of the grid in cells.
        dim: Features of each cell.
        heads: Attention heads.
        out_dim: Size of the pooled vector.

    Raises:
        UserError: The heads do not divide the features.
    """

    def __init__(self, spatial: int, dim: int, heads: int, out_dim: int) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            fitting = ", ".join(str(count) for count in range(1, min(dim, 33)) if dim % count == 0)
            raise UserError(f"{heads} attention heads do not divide {dim} features", f"These do: {fitting}.")
        self.spatial = spatial
        self.positional_embedding = nn.Parameter(torch.randn(spatial**2 + 1, dim) / dim**0.5)
        self.mhsa = nn.MultiheadAttention(dim, heads)
        self.c_proj = nn.Linear(dim, out_dim)

    def forward(self, grid: FeatureMap) -> tuple[ImageFeatures, Float[Tensor, "batch heads cells"]]:
        """Return the pooled vector, and each head's attention over the mean token (index 0) and the cells, row by row.

        Raises:
            ValueError: The grid has another size.
        """
        with torch.autocast(grid.device.type, enabled=False):
            cells = self._cells(grid)
            tokens = torch.cat([cells.mean(dim=0, keepdim=True), cells]) + self.positional_embedding[:, None]
            pooled, attention = self.mhsa(tokens[:1], tokens, tokens, average_attn_weights=False)
            projected: Tensor = self.c_proj(pooled)
            return projected[0], attention[:, :, 0]

    def dense(self, grid: FeatureMap) -> FeatureMap:
        """Send every cell through the value and output maps, `batch latent rows columns`: what pooling averages.

        With one head, the pooled vector is the attention's average of exactly these (and of the mean token's).

        Raises:
            ValueError: The grid has another size.
        """
        with torch.autocast(grid.device.type, enabled=False):
            tokens = self._cells(grid) + self.positional_embedding[1:, None]
            width = tokens.shape[-1]
            values = functional.linear(tokens, self.mhsa.in_proj_weight[2 * width :], self.mhsa.in_proj_bias[2 * width :])
            latents: Tensor = self.c_proj(self.mhsa.out_proj(values))
            return latents.permute(1, 2, 0).reshape(latents.shape[1], -1, self.spatial, self.spatial)

    def _cells(self, grid: FeatureMap) -> Float[Tensor, "cells batch features"]:
        """The cells, row by row, in the precision of the weights."""
        if grid.shape[-2:] != (self.spatial, self.spatial):
            raise ValueError(f"a grid of {self.spatial} x {self.spatial} cells needed, got {tuple(grid.shape[-2:])}")
        return grid.to(self.positional_embedding.dtype).flatten(2).permute(2, 0, 1)
