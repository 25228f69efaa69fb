"""Volumes cut into patches, as encoders, decoders and objectives of masked volumes all count them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lingula.core.types import Volumes

Patches = Float[Tensor, "batch patches voxels"]


def patches_of(volumes: Volumes, patch: tuple[int, int, int]) -> Patches:
    """Cut volumes into patches, in the order of the encoder's tokens: x slowest, z fastest, also within a patch.

    Raises:
        ValueError: The patch does not divide the volumes.
    """
    if volumes.ndim != 5 or any(side % step for side, step in zip(volumes.shape[2:], patch, strict=True)):
        raise ValueError(f"volumes of {tuple(volumes.shape)} cannot be cut into patches of {patch}")
    batch, channels = volumes.shape[:2]
    (x, y, z), (px, py, pz) = (side // step for side, step in zip(volumes.shape[2:], patch, strict=True)), patch
    cut = volumes.reshape(batch, channels, x, px, y, py, z, pz)
    return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, x * y * z, channels * px * py * pz)


def chosen_patches(
    patches: Float[Tensor, "batch patches features"], numbers: Int[Tensor, "batch chosen"]
) -> Float[Tensor, "batch chosen features"]:
    """Return some patches (or tokens) of each volume, in the order of `numbers`; whole rows are copied, which is fast."""
    return patches[torch.arange(len(patches), device=patches.device)[:, None], numbers]


def volumes_of(patches: Patches, grid: tuple[int, int, int], patch: tuple[int, int, int]) -> Volumes:
    """Put patches together again: the inverse of `patches_of`.

    Args:
        patches: `batch patches voxels` in raster order.
        grid: Patches along x, y and z.
        patch: Voxels of a patch along x, y and z.

    Raises:
        ValueError: There are not as many patches as the grid has, or not as many voxels as patches of whole channels have.
    """
    batch, count, voxels = patches.shape
    (x, y, z), (px, py, pz) = grid, patch
    if count != x * y * z or voxels % (px * py * pz):
        raise ValueError(f"patches of {tuple(patches.shape)} make no grid of {grid} with {patch} voxels each")
    placed = patches.reshape(batch, x, y, z, -1, px, py, pz)
    return placed.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(batch, -1, x * px, y * py, z * pz)
