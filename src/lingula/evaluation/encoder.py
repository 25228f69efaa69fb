"""What a task needs from a model, whatever trained it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lingula.core.errors import UserError
from lingula.core.types import Pixels
from lingula.evaluation.arrays import EncodedFeatures, EncodedLatents, ImageScores, TextLatents


class Encoder(Protocol):
    """A loaded model with its own preprocessing inside."""

    name: str
    fingerprint: str
    findings: list[str]
    """What a supervised model classifies; empty for the others."""

    def embed_pixels(self, pixels: Sequence[Pixels]) -> tuple[EncodedFeatures, EncodedLatents]:
        """Return features before projection, and L2-normalised latents (no columns for a model without text)."""
        ...

    def encode_text(self, texts: Sequence[str]) -> TextLatents:
        """Return L2-normalised latents of texts."""
        ...

    def classify(self, features: EncodedFeatures) -> ImageScores:
        """Return a supervised model's logits."""
        ...


def need_text(latents: EncodedLatents, encoder: Encoder, task: str) -> None:
    """Check that the model has a space shared with text.

    Raises:
        UserError: It has none.
    """
    if latents.shape[1] == 0:
        raise UserError(f"{encoder.name} has no text tower, which {task} needs", "Choose --task probe or supervised for it.")
