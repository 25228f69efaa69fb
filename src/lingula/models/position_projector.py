"""A projection head for the cells of an image and the tokens of a text, as G2D has it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class PositionProjector(nn.Module):
    """Linear, batch norm without affine parameters, ReLU, linear, on each position alone (G2D's official 1 x 1 convolutions).

    The batch norm sees every position that is given, so what is given decides its statistics. Runs in the precision of its
    weights whatever autocast says.

    Args:
        inputs: Features of a position.
        hidden: Width of the hidden layer.
        outputs: Size of the result.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden, affine=False)
        self.output = nn.Linear(hidden, outputs, bias=False)

    def forward(
        self, positions: Float[Tensor, "positions features"], wanted: Int[Tensor, wanted] | None = None
    ) -> Float[Tensor, "wanted latent"]:
        """Project; not normalised.

        Args:
            positions: `positions features`.
            wanted: Which of them come out; None: all.
        """
        with torch.autocast(positions.device.type, enabled=False):
            hidden = functional.relu(self.norm(self.hidden(positions.to(self.hidden.weight.dtype))))
            latents: Tensor = self.output(hidden if wanted is None else hidden[wanted])
            return latents
