"""Pooling of a feature map by attention whose values are the features themselves."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.core.types import FeatureMap, ImageFeatures


class WeightedMeanPool(nn.Module):
    """Each head gives every cell a weight; what comes out is the weighted mean of the cells, head beside head.

    As in CLIP's attention pooling (`AttentionPool2d`) the mean cell asks all cells and itself, but nothing is projected before it
    is averaged: what the encoder tells apart stays apart, and begins as the plain mean. Weights are softmax(q k / sqrt(d)), with
    q and k linear in the standardised cells. Runs in the precision of its weights whatever autocast says.

    Args:
        spatial: Side of the grid in cells.
        features: Features of each cell.
        width: Features of queries and keys, all heads together.
        heads: Attention heads.

    Raises:
        UserError: The heads do not divide the width.
    """

    def __init__(self, spatial: int, features: int, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            fitting = ", ".join(str(count) for count in range(1, min(width, 33)) if width % count == 0)
            raise UserError(f"{heads} attention heads do not divide {width} features", f"These do: {fitting}.")
        self.spatial, self.heads = spatial, heads
        self.norm = nn.BatchNorm1d(features, affine=False)
        self.positional_embedding = nn.Parameter(torch.randn(spatial**2 + 1, features) / features**0.5)
        self.query, self.key = nn.Linear(features, width), nn.Linear(features, width, bias=False)

    def forward(self, grid: FeatureMap) -> tuple[ImageFeatures, Float[Tensor, "batch heads cells"]]:
        """Return the weighted means, `batch heads*features`, and the weights: the mean cell's (index 0), the cells' row by row.

        Raises:
            ValueError: The grid has another size.
        """
        if grid.shape[-2:] != (self.spatial, self.spatial):
            raise ValueError(f"a grid of {self.spatial} x {self.spatial} cells needed, got {tuple(grid.shape[-2:])}")
        with torch.autocast(grid.device.type, enabled=False):
            cells = grid.to(self.positional_embedding.dtype).flatten(2).transpose(1, 2)
            normed = self.norm(cells.flatten(0, 1)).reshape(cells.shape)
            tokens = torch.cat([normed.mean(dim=1, keepdim=True), normed], dim=1) + self.positional_embedding
            queries = self.query(tokens[:, 0]).reshape(len(cells), self.heads, 1, -1)
            keys = self.key(tokens).reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)
            weights = (queries * keys).sum(dim=-1).div(keys.shape[-1] ** 0.5).softmax(dim=-1)
            values = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
            return (weights @ values).flatten(1), weights

    def dense(self, grid: FeatureMap) -> FeatureMap:
        """What pooling averages: every cell, repeated for each head, `batch heads*features rows columns`."""
        return grid.to(self.positional_embedding.dtype).repeat(1, self.heads, 1, 1)
