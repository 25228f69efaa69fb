"""Rotary position embedding on a 3-D grid: places enter attention as rotations, so that only differences of places count."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

TEMPERATURE = 10_000.0


def rotary_angles(
    grid: tuple[int, int, int], head_dim: int, device: torch.device | None = None
) -> Float[Tensor, "tokens half_head"]:
    """Return the angle by which each pair of a head's features is rotated at each place of a grid, in radians, fp32.

    A head's pairs are shared out in three equal parts, for x, y and z. Pair k of an axis with K pairs turns by
    p · 10000^(-k / K) at place p (in patches). Rows run in raster order, x slowest (RoPE, arXiv 2104.09864; the 3-D form and
    its numbers are those of Primus, arXiv 2503.01835).

    Args:
        grid: Patches along x, y and z.
        head_dim: Features of a head, a multiple of 6.
        device: Where the result is made.
    """
    pairs = head_dim // 6
    bands = 1 / TEMPERATURE ** (torch.arange(pairs, dtype=torch.float32, device=device) / pairs)
    places = [torch.arange(length, dtype=torch.float32, device=device) for length in grid]
    coordinates = torch.stack(torch.meshgrid(places, indexing="ij"), dim=-1)
    return (coordinates[..., None] * bands).flatten(3).flatten(0, 2)


def rotate(heads: Float[Tensor, "batch heads tokens head_dim"], angles: Tensor) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Rotate the neighbouring pairs of features of queries or keys, in fp32 (or fp64, where they are).

    (a, b) becomes (a cos t - b sin t, b cos t + a sin t).

    Args:
        heads: Queries or keys.
        angles: `tokens half_head`, or `batch tokens half_head` where each sample kept other tokens.
    """
    dtype = torch.promote_types(heads.dtype, torch.float32)
    angles = angles if angles.ndim == 2 else angles[:, None]
    cosine, sine = angles.cos().to(dtype), angles.sin().to(dtype)
    a, b = heads.to(dtype).reshape(*heads.shape[:-1], -1, 2).unbind(-1)
    return torch.stack([a * cosine - b * sine, b * cosine + a * sine], dim=-1).flatten(-2).to(heads.dtype)
