"""Attention pooling of a sequence by its own mean, and the same map applied to each token alone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.errors import UserError
from lingula.core.types import TokenMask, VolumeGrid


class AttentionPool1d(nn.Module):
    """The mean token asks all tokens; no residual, norm or hidden layer (as in colipri 0.1.3; state-dict names `attn.*`).

    Args:
        dim: Features of a token.
        heads: Attention heads.

    Raises:
        UserError: The heads do not divide the features.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            fitting = ", ".join(str(count) for count in range(1, min(dim, 32) + 1) if dim % count == 0)
            raise UserError(f"{heads} attention heads do not divide {dim} features", f"These do: {fitting}.")
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(
        self, tokens: Float[Tensor, "batch tokens features"], mask: TokenMask | None = None
    ) -> Float[Tensor, "batch features"]:
        """Pool; tokens outside the mask have no influence at all, neither on the query nor as keys.

        Args:
            tokens: The sequence.
            mask: True (or not 0) where there is a token, at least once per sequence (else the result is no number: a look at the
                values would wait for the device); None: everywhere.

        Raises:
            UserError: The mask has another shape.
        """
        if mask is None:
            query, padding = tokens.mean(dim=1, keepdim=True), None
        else:
            valid = _valid(mask, tokens)
            shares = valid.to(tokens.dtype)[..., None]
            query = (tokens * shares).sum(dim=1, keepdim=True) / shares.sum(dim=1, keepdim=True)
            padding = ~valid
        pooled, _ = self.attn(query, tokens, tokens, key_padding_mask=padding, need_weights=False)
        return pooled[:, 0]  # type: ignore[no-any-return]

    def dense(self, grid: VolumeGrid) -> VolumeGrid:
        """Map every place as if it were pooled alone: value projection, then output projection.

        Pooling is an average of these vectors, weighted per head before the output projection; so they live in the space of
        the pooled vectors and can be compared with texts.
        """
        weight, bias = self.attn.in_proj_weight.chunk(3)[2], self.attn.in_proj_bias.chunk(3)[2]
        values = functional.conv3d(grid, weight[..., None, None, None], bias)
        out = self.attn.out_proj
        return functional.conv3d(values, out.weight[..., None, None, None], out.bias)


def _valid(mask: Tensor, tokens: Tensor) -> TokenMask:
    if mask.shape != tokens.shape[:2]:
        problem = f"a mask of {tuple(mask.shape)} does not fit tokens of {tuple(tokens.shape[:2])}"
        raise UserError(problem, "Give one number per token: `batch tokens`.")
    return mask.to(tokens.device, torch.bool)
