"""What a loaded run can do whatever its images are: encode texts, and compare an image with prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from lingula.core.errors import UserError
from lingula.models.known_words import unknown_words
from lingula.training.run import Run

if TYPE_CHECKING:
    from lingula.methods.base import Method
    from lingula.models.text_encoder import TextEncoder
    from lingula.models.text_tower import TextTower


@dataclass(frozen=True)
class Match:
    """How well one prompt fits an image.

    Args:
        prompt: The words.
        similarity: Cosine between image and text latents, -1 to 1.
        probability: Softmax over the prompts asked together, at the model's temperature.
    """

    prompt: str
    similarity: float
    probability: float


class LoadedRun(ABC):
    """A trained encoder, ready for images and texts.

    Args:
        run: The run folder it comes from.
        checkpoint: `best` (by validation), `last` or `initial`.
        batch_size: How many texts go through the encoder at once.

    Raises:
        UserError: The run has no such checkpoint.
    """

    def __init__(self, run: Run, checkpoint: str = "best", batch_size: int = 64) -> None:
        self.run, self.checkpoint, self.batch_size = run, checkpoint, batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.method: Method = run.load_method(checkpoint).to(self.device)
        self.text_encoder: TextEncoder | TextTower | None = run.text_encoder(checkpoint)
        if self.text_encoder is not None:
            self.text_encoder.to(self.device)
        self.name: str = run.config.method.name
        self.fingerprint = run.fingerprint(checkpoint)
        self.findings: list[str] = []

    @abstractmethod
    def encode_image(self, images: Sequence[Any]) -> Float[np.ndarray, "images latent"]:
        """Image latents, L2-normalised."""

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "texts latent"]:
        """Text latents, L2-normalised.

        Raises:
            UserError: The model has no text tower, or this is no list of texts.
        """
        check_several(texts, "text")
        encoder = self.text_encoder
        if encoder is None:
            raise UserError(f"the {self.name} model of {self.run.path} has no text tower", "Use a clip or m-flag run.")
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), self.batch_size):
                tokens = encoder.tokenise(texts[start : start + self.batch_size]).to(self.device)
                parts.append(self.method.encode_text(encoder(tokens).float()).cpu().numpy())
        return np.concatenate(parts)

    def predict(self, image: Any, prompts: Sequence[str]) -> list[Match]:
        """Compare one image with prompts; best first.

        Args:
            image: As `encode_image` takes it.
            prompts: At least one; the probabilities are a softmax over these prompts alone.

        Raises:
            UserError: The image cannot be read or there is no prompt.
        """
        if not prompts:
            raise UserError("no prompt given", 'Give some, e.g. --prompt "pleural effusion" "no pleural effusion".')
        similarity = self.encode_text(prompts) @ self.encode_image([image])[0]
        logits = torch.from_numpy(similarity) / self.method.temperature
        values = zip(prompts, similarity.tolist(), logits.softmax(0).tolist(), strict=True)
        return sorted((Match(*each) for each in values), key=lambda match: -match.similarity)

    def classify(self, features: Float[np.ndarray, "images image_features"]) -> Float[np.ndarray, "images findings"]:
        """Logits of a supervised model from its pooled features.

        Raises:
            UserError: The model is not a supervised one.
        """
        raise UserError(f"the {self.name} model of {self.run.path} is no classifier", "Use a supervised run.")

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the text encoder's vocabulary does not know; none for a model without text."""
        return [] if self.text_encoder is None else unknown_words(self.text_encoder.tokeniser.backend_tokenizer, text)


def check_several(items: Sequence[Any], what: str, axes: int = 1) -> None:
    """Check that these are several items, not one.

    Args:
        items: What was given.
        what: What one of them is called.
        axes: Of an array that is one of them.

    Raises:
        UserError: It is a single one, or nothing.
    """
    if isinstance(items, str | Path) or (isinstance(items, np.ndarray) and items.ndim == axes):
        raise UserError(f"a single {what} was given where a list of them is expected", f"Put it into a list: [{what}].")
    if len(items) == 0:
        raise UserError(f"no {what} was given", "Give a list of at least one.")
