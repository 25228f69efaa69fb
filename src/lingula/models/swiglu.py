"""The gated hidden layer of a transformer block, with a norm inside."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class SwiGLU(nn.Module):
    """W2 · norm(silu(Wg x) * Wx x): SwiGLU (arXiv 2002.05202) with sub-LN (arXiv 2210.06423), as EVA-02 has it (2303.11331).

    State-dict names: `fc1_g`, `fc1_x`, `norm`, `fc2`.

    Args:
        dim: Features in and out.
        hidden: Width of the gated layer.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(dim, hidden)
        self.fc1_x = nn.Linear(dim, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Transform the last axis."""
        transformed: Tensor = self.fc2(self.norm(functional.silu(self.fc1_g(features)) * self.fc1_x(features)))
        return transformed
