"""CXR-BERT's projection head: from the first token to the space that it shares with images (Boecking et al. 2022)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from lingula.core.errors import UserError
from lingula.core.types import TextFeatures

PROJECTION_FILE = "projection.safetensors"


class ProjectionHead(nn.Module):
    """z = W₂ LayerNorm(gelu(W₁ h)), divided by its length.

    Args:
        hidden: Features of the first token.
        size: Features of the joint space.
    """

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.dense_to_hidden = nn.Linear(hidden, size)
        self.LayerNorm = nn.LayerNorm(size, eps=1e-12)
        self.dense_to_output = nn.Linear(size, size)

    @property
    def dimension(self) -> int:
        """Features of the joint space."""
        return self.dense_to_output.out_features

    def forward(self, features: TextFeatures) -> TextFeatures:
        """Project `batch text_features`."""
        return normalize(self.dense_to_output(self.LayerNorm(gelu(self.dense_to_hidden(features)))), dim=-1)


def projection_from_state(state: dict[str, Tensor], where: str) -> ProjectionHead:
    """Build a head from its tensors.

    Args:
        state: Name to tensor.
        where: What to call the origin in an error.

    Raises:
        UserError: Tensors are missing or do not fit together.
    """
    try:
        size, hidden = state["dense_to_hidden.weight"].shape
        head = ProjectionHead(hidden, size)
        head.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"the projection head of {where} is incomplete ({first})", "Download the complete model again.") from None
    return head


def save_projection(folder: Path, head: ProjectionHead) -> None:
    """Write the head beside the weights."""
    save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / PROJECTION_FILE)


def load_projection(folder: Path) -> ProjectionHead:
    """Read what `save_projection` wrote.

    Raises:
        UserError: It is not there, or broken.
    """
    try:
        state = load_file(folder / PROJECTION_FILE)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder / PROJECTION_FILE} cannot be read ({error})", "Save the text encoder again.") from error
    return projection_from_state({name: torch.as_tensor(value) for name, value in state.items()}, str(folder))
