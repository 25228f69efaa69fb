"""The contract of a method: encode per rank, then losses on the global embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.batch import Batch
from lingula.core.types import AttentionMaps, FeatureMap, ImageFeatures, Images, Latents, Scalar, TextFeatures

if TYPE_CHECKING:
    from lingula.models.radiograph_encoder import RadiographEncoder
    from lingula.models.unet_decoder import UnetDecoder


@dataclass(frozen=True)
class Embeddings:
    """What the towers give for a batch, before any head: this is what the loop gathers across ranks, with gradient.

    Args:
        image: `batch image_features`, pooled.
        text: `batch text_features`, pooled; None for a method without text.
    """

    image: ImageFeatures
    text: TextFeatures | None = None
    per_image: dict[str, Float[Tensor, "batch ..."]] = field(default_factory=dict)
    """Numbers of each image that need its pixels (a dense loss), so that only `encode` can compute them; `batch ...`."""


@dataclass(frozen=True)
class Losses:
    """Named scalar losses with weights; `total` is their weighted sum.

    Args:
        terms: Name to scalar loss, each with gradient.
        weights: Name to weight; a missing name weighs 1.
        logged: Further numbers for the logbook, without gradient.
        best_by: Terms whose sum on validation chooses the best checkpoint; nothing: all.
    """

    terms: dict[str, Scalar]
    weights: dict[str, float] = field(default_factory=dict)
    logged: dict[str, float | Tensor] = field(default_factory=dict)
    best_by: tuple[str, ...] = ()

    @property
    def total(self) -> Scalar:
        """The weighted sum of the terms: what is minimised."""
        return self._sum(tuple(self.terms))

    @property
    def choice(self) -> Scalar | None:
        """The weighted sum of the terms in `best_by`; None where it is the total."""
        return self._sum(self.best_by) if self.best_by else None

    def _sum(self, names: tuple[str, ...]) -> Scalar:
        parts = [self.weights.get(name, 1.0) * self.terms[name] for name in names]
        return sum(parts[1:], parts[0])


class Method(nn.Module, ABC):
    """A pre-training method: two towers, heads, objectives. It knows nothing of devices, files or loggers."""

    image_encoder: RadiographEncoder
    needs_text: bool = True
    """Whether it trains on image-text pairs (else on images with labels)."""

    @property
    def rests_parts(self) -> bool:
        """Whether parts of it get no gradient in some steps, which DDP must then look for."""
        return False

    @abstractmethod
    def encode(self, batch: Batch) -> Embeddings:
        """Run the towers on this rank's samples."""

    @abstractmethod
    def towers(self) -> list[nn.Module]:
        """Modules that `encode` runs; they see this rank's samples alone, whereas heads see the global batch."""

    @abstractmethod
    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        """Heads and objectives on the global batch.

        Every rank receives the same global embeddings, so that negatives, covariances and the batch norms of the heads
        see the whole batch. `batch` is the global batch without pixels and tokens.
        """

    @property
    def temperature(self) -> float:
        """By what similarities are divided before a softmax."""
        return 1.0

    @abstractmethod
    def image_features(self, images: Images) -> ImageFeatures:
        """Pooled image features before projection: what probes read."""

    @abstractmethod
    def features_and_latents(self, images: Images) -> tuple[ImageFeatures, Latents]:
        """What `image_features` and `encode_image` give, from one pass; no latent columns for a method without text."""

    def encode_image(self, images: Images) -> Latents:
        """Image latents, L2-normalised."""
        return self.features_and_latents(images)[1]

    def encode_text(self, features: TextFeatures) -> Latents:
        """Text latents, L2-normalised, from the text encoder's pooled output."""
        raise TypeError(f"{type(self).__name__} has no text tower")

    def at_step(self, step: int, steps: int) -> None:
        """Hear from the loop, before each step, where the training is: step of steps, from 0. Most methods do not care."""

    def attention_maps(self, images: Images) -> AttentionMaps | None:
        """Attention of the pooling on the feature grid, `batch heads rows columns`; None for a method that pools otherwise."""
        return None

    def pretrained_decoder(self) -> UnetDecoder | None:
        """The decoder that is pre-trained along with the image encoder; None where there is none."""
        return None

    @abstractmethod
    def dense_features(self, images: Images) -> FeatureMap:
        """L2-normalised latents on the feature grid, `batch latent rows columns`, comparable with `encode_text`."""
