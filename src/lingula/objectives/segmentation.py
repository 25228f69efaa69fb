"""Supervised segmentation losses, in which pixels of unknown truth do not count."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from lingula.core.types import Scalar
from lingula.objectives.precision import full_precision, no_autocast

SegmentationForm: TypeAlias = Literal["dice-bce", "mgca"]
ClassMaps: TypeAlias = Float[Tensor, "batch classes height width"]

SMOOTHING = 1.0
FOCAL_WEIGHT, FOCUS = 10.0, 2.0


def segmentation_loss(
    logits: ClassMaps, target: ClassMaps, known: Bool[Tensor, "batch classes"], form: SegmentationForm = "dice-bce"
) -> Scalar:
    """Compare logits x, p = σ(x), with masks t.

    Dice is the batch's: D = (2 Σ p t + 1) / (Σ p + Σ t + 1), per class over all pixels of all images in which the class is known,
    so that images without the class count and need no rule of their own; then the mean over the classes known anywhere.

    - `dice-bce`: ½ (1 − D) + ½ cross-entropy, the latter a mean over pixels, then over classes.
    - `mgca`: 10 (1 − p_t)² cross-entropy − log D, with p_t the probability of what is true (Lin et al. 2017, arXiv 1708.02002):
      the mixed loss of MGCA's segmentation (Wang et al. 2022, arXiv 2210.06044), which has one class.

    Where nothing is known the loss is 0 and its gradient too.

    Args:
        logits: `batch classes height width`.
        target: `batch classes height width`, 0 or 1.
        known: `batch classes`.
        form: Which of the two.

    Raises:
        ValueError: The shapes do not fit, or there is no such form.
    """
    if logits.shape != target.shape or logits.ndim != 4 or known.shape != logits.shape[:2]:
        shapes = ", ".join(str(tuple(each.shape)) for each in (logits, target, known))
        raise ValueError(f"logits and masks of one shape and `batch classes` of what is known needed, got {shapes}")
    if form not in get_args(SegmentationForm):
        raise ValueError(f"form must be one of {', '.join(get_args(SegmentationForm))}, got {form!r}")
    with no_autocast(logits):
        logits = full_precision(logits).flatten(2)
        target = target.to(logits.dtype).flatten(2)
        weight = known.to(logits.dtype)[:, :, None]
        probability = logits.sigmoid() * weight
        overlap = 2 * (probability * target).sum(dim=(0, 2)) + SMOOTHING
        dice = overlap / (probability.sum(dim=(0, 2)) + (target * weight).sum(dim=(0, 2)) + SMOOTHING)
        pixelwise = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        if form == "mgca":
            wrong = functional.logsigmoid(logits * (1 - 2 * target)).mul(FOCUS).exp()
            each = FOCAL_WEIGHT * _mean(wrong * pixelwise, weight) - dice.log()
        else:
            each = (1 - dice + _mean(pixelwise, weight)) / 2
        seen = known.any(dim=0)
        return torch.where(seen, each, 0.0).sum() / seen.sum().clamp_min(1)


def _mean(values: Float[Tensor, "batch classes pixels"], weight: Float[Tensor, "batch classes 1"]) -> Float[Tensor, " classes"]:
    """Mean over the pixels of the images in which a class is known."""
    count = weight.sum(dim=(0, 2)).clamp_min(1) * values.shape[2]
    return (values * weight).sum(dim=(0, 2)) / count
