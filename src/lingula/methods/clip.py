"""CLIP (arXiv 2103.00020) for radiographs: matching image-report pairs against all other pairs of the global batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lingula.core.batch import Batch
from lingula.core.types import Scalar
from lingula.methods.base import Embeddings, Losses
from lingula.methods.clip_config import ClipConfig
from lingula.methods.two_towers import TwoTowers, paired
from lingula.models.projectors import Projector
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.objectives import contrastive_loss, effective_rank

if TYPE_CHECKING:
    from lingula.models.text_encoder import TextEncoder


class Clip(TwoTowers):
    """Symmetric InfoNCE with a learned temperature and, where reports repeat, several positives.

    Args:
        config: Heads, temperature, positives.
        image_encoder: Trained.
        text_dimension: Size of the pooled text features.
        text_encoder: Where it is trained too; None where it is frozen.
    """

    def __init__(
        self,
        config: ClipConfig,
        image_encoder: RadiographEncoder,
        text_dimension: int,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        bare = config.text_head == "none"
        latent = text_dimension if bare else config.latent
        image_head = Projector(config.head, image_encoder.dimension, config.hidden, latent)
        text_head = nn.Identity() if bare else Projector(config.head, text_dimension, config.hidden, latent)
        super().__init__(image_encoder, image_head, text_head, text_encoder)
        self.config = config
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))

    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        """The contrastive term over the global batch."""
        image, text = paired(embeddings)
        temperature = self._bounded_temperature()
        groups, positives = batch.groups, self.config.positives
        if positives == "one":
            groups, positives = None, "share"
        loss = contrastive_loss(self.image_head(image), self.text_head(text), temperature, groups, positives)
        logged: dict[str, float | Tensor] = {
            "temperature": temperature.detach(),
            "effective_rank": effective_rank(image.detach()),
        }
        return Losses({"contrastive": loss}, logged=logged)

    def _bounded_temperature(self) -> Scalar:
        """The learned temperature; the parameter itself is kept above its bound, so that its gradient never dies there."""
        with torch.no_grad():
            self.log_temperature.clamp_(min=math.log(self.config.minimum_temperature))
        return self.log_temperature.exp()

    @property
    def temperature(self) -> float:
        """The learned temperature: by what similarities are divided before a softmax."""
        return max(self.log_temperature.exp().item(), self.config.minimum_temperature)
