"""The image half of a volume-text model: encoder, projector and pooling, with colipri's state-dict names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.core.types import KeptTokens, VolumeGrid, Volumes, VolumeTokens
from lingula.models.attention_pool_1d import AttentionPool1d
from lingula.models.volume_encoder import VolumeEncoder
from lingula.models.volume_window import encode_windows


class VolumeTower(nn.Module):
    """Volumes to tokens (`backbone`), tokens to the joint width (`projector`), and those to one vector (`pooler`).

    Args:
        backbone: The encoder.
        dimension: Width of the space that volumes and texts share.
        heads: Attention heads of the pooling.
    """

    other_forwards = ("features", "visible", "pooled", "dense")
    """Methods besides `forward` that training calls."""

    def __init__(self, backbone: VolumeEncoder, dimension: int, heads: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = nn.Conv3d(backbone.dimension, dimension, kernel_size=1)
        self.pooler = AttentionPool1d(dimension, heads)

    def features(self, volumes: Volumes, window: int | tuple[int, int, int] | None = None) -> VolumeGrid:
        """Tokens of the encoder on their grid; with a window, of each window alone, aggregated.

        Raises:
            UserError: The encoder, or the windows, cannot read volumes of this size.
        """
        tokens: VolumeGrid = self.backbone(volumes) if window is None else encode_windows(self.backbone, volumes, window)
        return tokens

    def visible(self, volumes: Volumes, kept: KeptTokens) -> VolumeTokens:
        """Tokens of the patches that are kept, `batch kept features`, where the encoder sees no other.

        Raises:
            UserError: The encoder cannot read volumes of this size.
        """
        return self.backbone.tokens(volumes, kept)

    def pooled(self, features: VolumeGrid) -> Float[Tensor, "batch latent"]:
        """One vector per volume from the encoder's tokens; not normalised."""
        latents: Tensor = self.pooler(self.projector(features).flatten(2).transpose(1, 2))
        return latents

    def dense(self, features: VolumeGrid) -> VolumeGrid:
        """The encoder's tokens, each mapped alone into the space of the pooled vectors; not normalised."""
        return self.pooler.dense(self.projector(features))

    def forward(
        self,
        volumes: Volumes,
        pool: bool = False,
        project: bool = False,
        normalize: bool = False,
        window_size: int | tuple[int, int, int] | None = None,
    ) -> VolumeGrid | Float[Tensor, "batch latent"]:
        """Encode volumes; see `lingula.exchange.Colipri.encode_image`.

        Raises:
            UserError: Pooling without projection, or volumes that the encoder cannot read.
        """
        if pool and not project:
            raise UserError("pooling works on projected tokens only", "Give project=True beside pool=True.")
        embedded = self.features(volumes, window_size)
        if project:
            embedded = self.pooled(embedded) if pool else self.dense(embedded)
        return torch.nn.functional.normalize(embedded, dim=1) if normalize else embedded
