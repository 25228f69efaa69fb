"""M-FLAG (MICCAI 2023, arXiv 2307.08347): alignment to a frozen language model, orthogonality of the image latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from lingula.core.batch import Batch
from lingula.core.types import Scalar
from lingula.methods.base import Embeddings, Losses
from lingula.methods.m_flag_config import MFlagConfig
from lingula.methods.two_towers import TwoTowers, paired
from lingula.models.projectors import Projector
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.whitening import Whitening
from lingula.objectives import alignment_loss, effective_rank, orthogonality_floor, orthogonality_loss

if TYPE_CHECKING:
    from lingula.models.text_encoder import TextEncoder


class MFlag(TwoTowers):
    """Trains the image encoder and the heads; the language model stays as it is and is no part of the module.

    `text_encoder.frozen=false` trains it along, which is what the paper argues against: the ablation, not the method.

    The batch norms of the heads see the whole global batch, because `losses` does.

    Args:
        config: Sizes of the heads, weights and form of the terms.
        image_encoder: Trained.
        text_dimension: Size of the pooled text features.
        text_encoder: Where it is trained along; None where it is frozen.
    """

    def __init__(
        self,
        config: MFlagConfig,
        image_encoder: RadiographEncoder,
        text_dimension: int,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        latent = config.latent if config.text_head == "projection" else text_dimension
        image_head = Projector(config.image_head, image_encoder.dimension, config.hidden, latent)
        super().__init__(image_encoder, image_head, _text_head(config, text_dimension), text_encoder)
        self.config = config

    @property
    def temperature(self) -> float:
        """By what similarities are divided before a softmax; M-FLAG learns none, so this is CLIP's usual starting value."""
        return 0.07

    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        """Alignment and orthogonality over the global batch, with the floor that its finite size imposes on the latter."""
        image, text = paired(embeddings)
        image_latents, text_latents = self.image_head(image), self.text_head(text)
        chosen = {"features": [image], "latents": [image_latents, text_latents], "both": [image, image_latents, text_latents]}
        value, floor = self._orthogonality(chosen[self.config.orthogonality_on])
        return Losses(
            terms={"alignment": alignment_loss(image_latents, text_latents), "orthogonality": value},
            weights={"alignment": self.config.alignment_weight, "orthogonality": self.config.orthogonality_weight},
            logged={
                "orthogonality_floor": floor,
                "effective_rank": effective_rank(image.detach()),
                "effective_rank_latents": effective_rank(image_latents.detach()),
            },
        )

    def _orthogonality(self, matrices: list[Tensor]) -> tuple[Scalar, float]:
        """Mean loss and mean floor over the chosen matrices."""
        weight, form, scaled = self.config.off_diagonal_weight, self.config.orthogonality_form, self.config.per_dimension
        values = [orthogonality_loss(matrix, weight, form, scaled) for matrix in matrices]
        floors = [orthogonality_floor(len(matrix), matrix.shape[1], weight, form, scaled) for matrix in matrices]
        return sum(values[1:], values[0]) / len(values), sum(floors) / len(floors)


def _text_head(config: MFlagConfig, dimension: int) -> nn.Module:
    if config.text_head == "projection":
        return Projector("batch-norm-mlp", dimension, config.hidden, config.latent)
    return Whitening(dimension) if config.text_head == "whitening" else nn.Identity()
