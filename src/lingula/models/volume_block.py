"""One block of the volume encoder: attention with rotated places, then a gated hidden layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.types import VolumeTokens
from lingula.models.rotary import rotate
from lingula.models.swiglu import SwiGLU


class RotaryAttention(nn.Module):
    """Self-attention with rotary places and a norm before the output projection (sub-LN); keys have no bias.

    State-dict names: `q_proj`, `k_proj`, `v_proj`, `norm`, `proj`.

    Args:
        dim: Features of a token.
        heads: Attention heads.
        registers: How many tokens at the front have no place and are not rotated.
    """

    def __init__(self, dim: int, heads: int, registers: int = 0) -> None:
        super().__init__()
        self.heads, self.registers = heads, registers
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: VolumeTokens, angles: Tensor) -> VolumeTokens:
        """Let every token ask all others; `angles` as in `lingula.models.rotary.rotate`, for the tokens that have a place."""
        queries, keys, values = (
            projection(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        queries, keys = self._placed(queries, angles), self._placed(keys, angles)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        out: Tensor = self.proj(self.norm(mixed.transpose(1, 2).flatten(2)))
        return out

    def _placed(self, heads: Tensor, angles: Tensor) -> Tensor:
        if not self.registers:
            return rotate(heads, angles)
        return torch.cat([heads[:, :, : self.registers], rotate(heads[:, :, self.registers :], angles)], dim=2)


class DropPath(nn.Module):
    """In training, leave out a residual branch per sample with some probability; what stays is scaled up (arXiv 1603.09382).

    Args:
        probability: To leave it out.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """Return the branch, zero for the samples that skip it; untouched in evaluation."""
        if not self.training or self.probability == 0:
            return branch
        keep = 1 - self.probability
        stays = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) < keep
        return branch * (stays / keep).to(branch.dtype)


class VolumeBlock(nn.Module):
    """x + g1 · attention(norm x), then x + g2 · swiglu(norm x), with learned factors g (LayerScale, arXiv 2103.17239).

    State-dict names: `norm1`, `attn`, `gamma_1`, `norm2`, `mlp`, `gamma_2`.

    Args:
        dim: Features of a token.
        heads: Attention heads.
        hidden: Width of the gated layer.
        layer_scale: Start of the factors.
        drop_path: Probability to skip a branch in training.
        registers: Tokens at the front that have no place.
    """

    def __init__(self, dim: int, heads: int, hidden: int, layer_scale: float, drop_path: float, registers: int = 0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = RotaryAttention(dim, heads, registers)
        self.gamma_1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = SwiGLU(dim, hidden)
        self.gamma_2 = nn.Parameter(torch.full((dim,), layer_scale))
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: VolumeTokens, angles: Tensor) -> VolumeTokens:
        """Transform the tokens; their order and number stay."""
        tokens = tokens + self.drop_path(self.gamma_1 * self.attn(self.norm1(tokens), angles))
        out: Tensor = tokens + self.drop_path(self.gamma_2 * self.mlp(self.norm2(tokens)))
        return out
