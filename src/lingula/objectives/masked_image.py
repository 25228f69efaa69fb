"""Masked-image modelling of volumes: which patches an encoder sees, and the error on those it does not see.

The loss is nnSSL's for its MAE on Primus (mean squared error of masked voxels), which COLIPRI builds on; MAE: arXiv 2111.06377.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lingula.core.patches import chosen_patches, patches_of
from lingula.core.randomness import random_generator
from lingula.core.types import HiddenTokens, KeptTokens, Volumes
from lingula.objectives.precision import full_precision, no_autocast


def kept_patches(keys: Sequence[int], patches: int, masked_share: float, device: torch.device | None = None) -> KeptTokens:
    """Draw the patches of each volume that stay visible; they depend on its key alone, not on the batch around it.

    Args:
        keys: One per volume, e.g. of (seed, epoch, sample).
        patches: Patches of a volume.
        masked_share: Share that is hidden; at least one patch is hidden and at least one stays.
        device: Where the result is made.

    Returns:
        `batch kept`, ascending raster numbers (x slowest), the same count for each volume.

    Raises:
        ValueError: The share is not between 0 and 1, or there are fewer than two patches.
    """
    if not 0 < masked_share < 1 or patches < 2:
        raise ValueError(f"a share between 0 and 1 of at least two patches is masked, not {masked_share} of {patches}")
    count = min(max(round(patches * (1 - masked_share)), 1), patches - 1)
    drawn = [np.sort(random_generator(key, "mask").permutation(patches)[:count]) for key in keys]
    return torch.from_numpy(np.stack(drawn)).to(device)


def hidden_patches(kept: KeptTokens, patches: int) -> HiddenTokens:
    """Return the raster numbers of the patches of each volume that are not kept, ascending."""
    hidden = torch.ones(len(kept), patches, dtype=torch.int8, device=kept.device).scatter(1, kept, 0)
    return hidden.argsort(dim=1, descending=True, stable=True)[:, : patches - kept.shape[1]]


def masked_image_error(
    predicted: Float[Tensor, "batch hidden voxels"], volumes: Volumes, hidden: HiddenTokens, patch: tuple[int, int, int]
) -> Float[Tensor, batch]:
    """Mean squared error of each volume over the voxels of its hidden patches; what is visible has no part in it.

    Args:
        predicted: `batch hidden voxels`, of the hidden patches.
        volumes: What is to be predicted.
        hidden: Raster numbers of the patches that the encoder did not see.
        patch: Voxels of a patch along x, y and z.

    Returns:
        `batch`, in fp32 (or fp64).

    Raises:
        ValueError: The shapes do not fit.
    """
    target = chosen_patches(patches_of(volumes, patch), hidden)
    if predicted.shape != target.shape:
        raise ValueError(f"{tuple(target.shape)} numbers to predict, got {tuple(predicted.shape)}")
    with no_autocast(predicted):
        errors = functional.mse_loss(full_precision(predicted), full_precision(target), reduction="none")
        return errors.mean(dim=(1, 2))
