"""Symmetric InfoNCE (CLIP, arXiv 2103.00020; ConVIRT, arXiv 2010.00747), with several positives where texts repeat."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lingula.core.types import Groups, Latents, Scalar
from lingula.objectives.precision import full_precision, no_autocast, unit_vectors

Direction: TypeAlias = Literal["both", "image-to-text"]


def contrastive_loss(
    image: Latents,
    text: Latents,
    temperature: float | Float[Tensor, ""],
    groups: Groups | None = None,
    positives: Literal["share", "mask"] = "share",
    direction: Direction = "both",
) -> Scalar:
    """InfoNCE: cross-entropy of softmax(cos / temperature) over the batch, mean of image-to-text and text-to-image.

    Samples of one group (say, of identical reports) are not negatives of each other. With `share` the target mass is spread
    evenly over the group (UniCL, arXiv 2204.03610; the loss is then at least the mean log group size); with `mask` the own
    partner is the only positive and the rest of the group is left out of the denominator. Both are InfoNCE where no group
    has two members.

    Args:
        image: `batch latent`, any scale.
        text: `batch latent`, row i belongs to image i.
        temperature: Positive; gradients flow into a tensor.
        groups: `batch`; equal numbers are positives of each other. None: every sample stands alone.
        positives: What the members of a group are to each other, see above.
        direction: The mean of both, or `image-to-text` alone (as G2D prints it, arXiv 2312.01522, eq. 1).

    Raises:
        ValueError: The shapes differ, the batch has fewer than two samples, the temperature is not positive, or there is no
            such option.
    """
    if image.ndim != 2 or image.shape != text.shape:
        raise ValueError(f"paired latents [batch, latent] needed, got {tuple(image.shape)} and {tuple(text.shape)}")
    if len(image) < 2:
        raise ValueError(f"a contrastive loss needs at least two samples, got {len(image)}")
    if not isinstance(temperature, Tensor) and temperature <= 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    if positives not in ("share", "mask"):
        raise ValueError(f"positives must be 'share' or 'mask', got {positives!r}")
    if direction not in get_args(Direction):
        raise ValueError(f"direction must be one of {', '.join(get_args(Direction))}, got {direction!r}")
    with no_autocast(image):
        scale = full_precision(temperature) if isinstance(temperature, Tensor) else temperature
        logits = unit_vectors(image) @ unit_vectors(text).T / scale
        same = None if groups is None else _same_group(groups, len(logits))
        forwards = _one_way(logits, same, positives)
        return forwards if direction == "image-to-text" else (forwards + _one_way(logits.T, same, positives)) / 2


def _same_group(groups: Groups, batch: int) -> Tensor:
    """`batch batch`, True where two samples are positives of each other."""
    if groups.shape != (batch,):
        raise ValueError(f"groups [batch] needed for {batch} samples, got {tuple(groups.shape)}")
    return groups[:, None] == groups[None, :]


def _one_way(logits: Tensor, same: Tensor | None, positives: str) -> Scalar:
    """One direction: rows look for their positives among the columns."""
    if same is None:
        return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
    if positives == "mask":
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(same & ~own, float("-inf"))
        return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
    share = same.to(logits.dtype) / same.sum(dim=1, keepdim=True)
    return -(share * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()
