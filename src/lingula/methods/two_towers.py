"""What methods with an image tower and a text tower share: encoding, projection, dense features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from lingula.core.batch import Batch
from lingula.core.types import FeatureMap, ImageFeatures, Images, Latents, TextFeatures
from lingula.methods.base import Embeddings, Method
from lingula.models.projectors import Projector
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.objectives.precision import unit_vectors

if TYPE_CHECKING:
    from lingula.models.text_encoder import TextEncoder


class TwoTowers(Method):
    """Image encoder and text encoder, each with a head into the shared latent space.

    Args:
        image_encoder: Trained.
        image_head: Pooled image features to latents.
        text_head: Pooled text features to latents; an identity where they are shared as they are.
        text_encoder: Where it is trained; None where it is frozen and its outputs arrive as `Batch.text_features`.
    """

    def __init__(
        self, image_encoder: RadiographEncoder, image_head: Projector, text_head: nn.Module, text_encoder: TextEncoder | None
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.image_head = image_head
        self.text_head = text_head
        self.text_encoder = text_encoder

    def encode(self, batch: Batch) -> Embeddings:
        """Pooled features of both towers, before the heads.

        Raises:
            ValueError: The batch has no images, or not the text that this method reads.
        """
        if batch.images is None:
            raise ValueError("the batch has no images")
        return Embeddings(self.image_encoder(batch.images), self._encode_texts(batch))

    def towers(self) -> list[nn.Module]:
        """The image encoder, and the text encoder where it is trained."""
        return [self.image_encoder] if self.text_encoder is None else [self.image_encoder, self.text_encoder]

    def _encode_texts(self, batch: Batch) -> TextFeatures:
        if self.text_encoder is None:
            if batch.text_features is None:
                raise ValueError("the text encoder is frozen, but the batch has no text features")
            return batch.text_features
        if batch.tokens is None:
            raise ValueError("the text encoder is trained, but the batch has no tokens")
        features: TextFeatures = self.text_encoder(batch.tokens)
        return features

    def project_image(self, features: ImageFeatures) -> Latents:
        """Image latents, L2-normalised, from pooled features."""
        return unit_vectors(self.image_head(features))

    def features_and_latents(self, images: Images) -> tuple[ImageFeatures, Latents]:
        """Pooled features, and the latents that the image head makes of them."""
        features = self.image_features(images)
        return features, self.project_image(features)

    def encode_text(self, features: TextFeatures) -> Latents:
        """Text latents, L2-normalised, from the text encoder's pooled output."""
        return unit_vectors(self.text_head(features))

    def image_features(self, images: Images) -> ImageFeatures:
        """Pooled image features before projection."""
        features: ImageFeatures = self.image_encoder(images)
        return features

    def dense_features(self, images: Images) -> FeatureMap:
        """The image head applied to each cell of the feature map, L2-normalised, `batch latent rows columns`."""
        latents = self.image_head.cells(self.image_encoder.cell_features(images))
        return unit_vectors(latents.movedim(1, -1)).movedim(-1, 1)


def paired(embeddings: Embeddings) -> tuple[ImageFeatures, TextFeatures]:
    """Both towers' features.

    Raises:
        ValueError: There are no text features.
    """
    if embeddings.text is None:
        raise ValueError("the embeddings have no text features")
    return embeddings.image, embeddings.text
