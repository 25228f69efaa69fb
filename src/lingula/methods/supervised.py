"""The supervised reference: the same image encoder and budget, trained on the labels themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.batch import Batch
from lingula.core.types import FeatureMap, FindingLabels, ImageFeatures, Images, Latents, Scalar
from lingula.methods.base import Embeddings, Losses, Method
from lingula.methods.supervised_config import SupervisedConfig
from lingula.models.radiograph_encoder import RadiographEncoder


class Supervised(Method):
    """One logit per finding, binary cross-entropy over the labels that are known.

    Args:
        config: Which findings, where not all.
        image_encoder: Trained.
        findings: The columns of `Batch.labels`, in order.

    Raises:
        ValueError: There is no finding.
    """

    needs_text = False

    def __init__(self, config: SupervisedConfig, image_encoder: RadiographEncoder, findings: Sequence[str]) -> None:
        super().__init__()
        if not findings:
            raise ValueError("a supervised model needs at least one finding")
        self.config = config
        self.findings = list(findings)
        self.image_encoder = image_encoder
        self.classifier = nn.Linear(image_encoder.dimension, len(self.findings))

    def encode(self, batch: Batch) -> Embeddings:
        """Pooled image features.

        Raises:
            ValueError: The batch has no images.
        """
        if batch.images is None:
            raise ValueError("the batch has no images")
        return Embeddings(self.image_encoder(batch.images))

    def towers(self) -> list[nn.Module]:
        """The image encoder."""
        return [self.image_encoder]

    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        """Binary cross-entropy over the known labels of the global batch.

        Raises:
            ValueError: The batch has no labels.
        """
        if batch.labels is None:
            raise ValueError("the batch has no labels")
        known = (~batch.labels.isnan()).float().mean()
        loss = masked_cross_entropy(self.logits(embeddings.image), batch.labels)
        return Losses({"classification": loss}, logged={"known_labels": known})

    def logits(self, features: ImageFeatures) -> Float[Tensor, "batch findings"]:
        """One logit per finding from pooled features."""
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.classifier(features.to(self.classifier.weight.dtype))
            return logits

    def image_features(self, images: Images) -> ImageFeatures:
        """Pooled image features: what the classifier reads."""
        features: ImageFeatures = self.image_encoder(images)
        return features

    def features_and_latents(self, images: Images) -> tuple[ImageFeatures, Latents]:
        """Pooled features, and latents without a column: a supervised model shares no space with texts."""
        features = self.image_features(images)
        return features, features[:, :0]

    def dense_features(self, images: Images) -> FeatureMap:
        """Raises TypeError: there is no text to compare cells with."""
        raise TypeError(f"{type(self).__name__} has no text tower")


def masked_cross_entropy(logits: Float[Tensor, "batch findings"], labels: FindingLabels) -> Scalar:
    """Mean binary cross-entropy over the known labels; 0, with zero gradient, where none is known.

    Args:
        logits: `batch findings`.
        labels: `batch findings`; 1, 0, or NaN for unknown, which has no influence.
    """
    known = ~labels.isnan()
    each = functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(0).to(logits.dtype), reduction="none")
    return (each * known).sum() / known.sum().clamp_min(1)
