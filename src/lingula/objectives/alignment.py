"""Alignment without negatives: the squared distance of paired unit vectors (M-FLAG, arXiv 2307.08347)."""

from __future__ import annotations

from lingula.core.types import Latents, Scalar
from lingula.objectives.precision import no_autocast, unit_vectors


def alignment_loss(image: Latents, text: Latents) -> Scalar:
    """Mean over the batch of 4 (1 - cos), which is the squared distance of the unit vectors counted in both directions.

    A zero vector has cosine 0 and a finite gradient. Equation: mean_i [(2 - 2 v_i . t_i) + (2 - 2 t_i . v_i)] with unit v, t.

    Args:
        image: `batch latent`, any scale.
        text: `batch latent`, row i belongs to image i.

    Raises:
        ValueError: The shapes differ or the batch is empty.
    """
    if image.ndim != 2 or image.shape != text.shape or len(image) == 0:
        raise ValueError(f"paired latents [batch, latent] needed, got {tuple(image.shape)} and {tuple(text.shape)}")
    with no_autocast(image):
        cosine = (unit_vectors(image) * unit_vectors(text)).sum(dim=-1)
        return 4 * (1 - cosine).mean()
