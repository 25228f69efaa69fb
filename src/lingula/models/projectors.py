"""Heads that map pooled features into the space that images and texts share."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.types import FeatureMap

HeadKind: TypeAlias = Literal["linear", "batch-norm-linear", "mlp", "batch-norm-mlp"]


class Projector(nn.Module):
    """A projection head; always runs in the precision of its own weights, whatever autocast says.

    `linear`: one matrix (CLIP). `batch-norm-linear`: batch norm, one affine map. `mlp`: linear, GELU, linear.
    `batch-norm-mlp`: linear, batch norm, ReLU, linear, batch norm without affine parameters (M-FLAG, arXiv 2307.08347,
    official code).

    Args:
        kind: See above.
        inputs: Size of the features.
        hidden: Width of the hidden layer, where there is one.
        outputs: Size of the latents.
    """

    def __init__(self, kind: HeadKind, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.dimension = outputs
        self.layers = _layers(kind, inputs, hidden, outputs)

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch latent"]:
        """Project; not normalised."""
        with torch.autocast(features.device.type, enabled=False):
            latents: Tensor = self.layers(features.to(next(self.parameters()).dtype))
            return latents

    def cells(self, grid: FeatureMap) -> FeatureMap:
        """Project every cell of a feature map on its own, `batch latent rows columns`; batch norms must be in eval mode."""
        batch, _, rows, columns = grid.shape
        latents: Tensor = self(grid.permute(0, 2, 3, 1).flatten(0, 2))
        return latents.reshape(batch, rows, columns, -1).permute(0, 3, 1, 2)


def _layers(kind: HeadKind, inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    if kind == "linear":
        return nn.Sequential(OrderedDict(output=nn.Linear(inputs, outputs, bias=False)))
    if kind == "batch-norm-linear":
        return nn.Sequential(OrderedDict(norm=nn.BatchNorm1d(inputs), output=nn.Linear(inputs, outputs)))
    layers: OrderedDict[str, nn.Module] = OrderedDict(hidden=nn.Linear(inputs, hidden))
    if kind == "batch-norm-mlp":
        layers |= {"norm": nn.BatchNorm1d(hidden), "activation": nn.ReLU(), "output": nn.Linear(hidden, outputs)}
        layers["output_norm"] = nn.BatchNorm1d(outputs, affine=False)
        return nn.Sequential(layers)
    layers |= {"activation": nn.GELU(), "output": nn.Linear(hidden, outputs)}
    return nn.Sequential(layers)
