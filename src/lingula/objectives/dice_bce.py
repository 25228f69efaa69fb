"""Dice and cross-entropy against a mask, in three forms (G2D, NeurIPS 2024, arXiv 2312.01522, eq. 4)."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lingula.core.types import Scalar
from lingula.objectives.precision import full_precision, no_autocast

Form: TypeAlias = Literal["sound", "paper", "released"]
Masks: TypeAlias = Float[Tensor, "batch masks height width"]

RELEASED_SMOOTHING, RELEASED_CROSS_ENTROPY = 1e-5, 0.2


def dice_bce_loss(logits: Masks, target: Masks, form: Form = "sound") -> Scalar:
    """Mean over the images that count of `dice_bce_of_each`; 0, with zero gradient, where none counts.

    Args:
        logits: `batch masks height width`.
        target: `batch masks height width`, 0 to 1.
        form: Which of the three.

    Raises:
        ValueError: The shapes differ, the batch is empty, or there is no such form.
    """
    each, counts = dice_bce_of_each(logits, target, form)
    return (each * counts).sum() / counts.sum().clamp_min(1)


def dice_bce_of_each(logits: Masks, target: Masks, form: Form = "sound") -> tuple[Float[Tensor, batch], Float[Tensor, batch]]:
    """Dice plus binary cross-entropy of logits p = σ(x) against a mask t, image by image.

    - `sound`: ½ (1 − (2 Σ p t + 1) / (Σ p + Σ t + 1) + mean cross-entropy). Images with an empty mask do not count.
    - `paper`: ½ (1 − 2 Σ p t / (Σ p + Σ t) + Σ of the cross-entropy). As printed, the ratio is taken per pixel, where it is
      undefined at 0; we read it as the ratio of sums, and the sum over images as their mean.
    - `released`: 1 − (2 Σ x t + 1e-5) / (Σ x + Σ t + 1e-5) on raw logits + 0.2 mean cross-entropy: unbounded, and no overlap
      measure; as the official code has it.

    Args:
        logits: `batch masks height width`.
        target: `batch masks height width`, 0 to 1.
        form: Which of the three.

    Returns:
        The loss of each image, 0 where it does not count, and 1 or 0 for whether it counts; `batch` each.

    Raises:
        ValueError: The shapes differ, the batch is empty, or there is no such form.
    """
    if logits.shape != target.shape or logits.ndim != 4 or 0 in logits.shape:
        raise ValueError(f"logits and masks of one shape needed, got {tuple(logits.shape)} and {tuple(target.shape)}")
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {form!r}")
    with no_autocast(logits):
        logits = full_precision(logits).flatten(1)
        target = target.to(logits.dtype).flatten(1)
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        all_count = torch.ones_like(logits[:, 0])
        if form == "released":
            return _dice(logits, target, RELEASED_SMOOTHING) + RELEASED_CROSS_ENTROPY * cross_entropy.mean(dim=1), all_count
        if form == "paper":
            tiny = torch.finfo(logits.dtype).tiny
            return (_dice(logits.sigmoid(), target, 0.0, tiny) + cross_entropy.sum(dim=1)) / 2, all_count
        known = (target > 0).any(dim=1)
        each = (_dice(logits.sigmoid(), target, 1.0) + cross_entropy.mean(dim=1)) / 2
        return torch.where(known, each, 0.0), known.to(logits.dtype)


def _dice(values: Tensor, target: Tensor, smoothing: float, least: float = 0.0) -> Float[Tensor, batch]:
    overlap = 2 * (values * target).sum(dim=1) + smoothing
    total = values.sum(dim=1) + target.sum(dim=1) + smoothing
    return 1 - overlap / (total.clamp_min(least) if least else total)
