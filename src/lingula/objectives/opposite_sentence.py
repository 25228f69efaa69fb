"""The opposite-sentence loss: an image must be nearer to a sentence that is true of it than to its denial.

As others report of COLIPRI (arXiv 2510.15042; its own text was not at hand): a two-way cross-entropy per pair of opposites.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lingula.core.types import Latents, Scalar
from lingula.objectives.precision import full_precision, no_autocast, unit_vectors

Slots = Float[Tensor, "batch slots"]


def opposite_margins(
    image: Latents, statements: Float[Tensor, "batch slots latent"], opposites: Float[Tensor, "batch slots latent"]
) -> Slots:
    """By how much each image is nearer to a statement than to its opposite: cos(v, s+) - cos(v, s-).

    Args:
        image: `batch latent`, any scale.
        statements: `batch slots latent`; row i belongs to image i.
        opposites: The same, of the opposites.

    Raises:
        ValueError: The shapes do not fit.
    """
    if statements.shape != opposites.shape or statements.ndim != 3 or statements[:, 0].shape != image.shape:
        shapes = ", ".join(str(tuple(each.shape)) for each in (image, statements, opposites))
        raise ValueError(f"images [batch, latent] and two sentences [batch, slots, latent] needed, got {shapes}")
    with no_autocast(image):
        difference = unit_vectors(statements) - unit_vectors(opposites)
        return torch.einsum("bd,bsd->bs", unit_vectors(image), difference)


def opposite_sentence_loss(margins: Slots, labels: Int[Tensor, "batch slots"], temperature: float | Float[Tensor, ""]) -> Scalar:
    """Mean over the valid pairs of -log softmax([cos(v, s+), cos(v, s-)] / temperature) at the true one of the two.

    With the margin m that is log(1 + exp(∓m / temperature)): minus where the statement is true, plus where its opposite is.
    Without any valid pair the loss is 0, and so is its gradient.

    Args:
        margins: `batch slots`, from `opposite_margins`.
        labels: `batch slots`: 1 the statement is true, 0 its opposite is, -1 the slot is empty.
        temperature: Positive; gradients flow into a tensor.

    Raises:
        ValueError: The shapes differ, a label is another number, or the temperature is not positive.
    """
    if margins.shape != labels.shape:
        raise ValueError(f"margins and labels of one shape needed, got {tuple(margins.shape)} and {tuple(labels.shape)}")
    if not isinstance(temperature, Tensor) and temperature <= 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    if not bool(((labels >= -1) & (labels <= 1) & (labels == labels.round())).all()):
        raise ValueError("labels must be 1, 0 or -1")
    with no_autocast(margins):
        scale = full_precision(temperature) if isinstance(temperature, Tensor) else temperature
        valid = labels >= 0
        signs = torch.where(valid, 1 - 2 * labels, 0).to(margins.dtype)
        each = functional.softplus(signs * full_precision(margins) / scale)
        return torch.where(valid, each, 0.0).sum() / valid.sum().clamp_min(1)
