"""Sizes of a colipri model; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from lingula.core.config import Config
from lingula.models.pooled_text_config import BertSizes
from lingula.models.volume_config import Positive, Triple, VolumeEncoderConfig


class ColipriImageSizes(Config):
    """Sizes of the image encoder."""

    embed_dim: Positive = 864
    """Features of each token."""
    depth: Positive = 16
    """Transformer blocks."""
    num_heads: Positive = 12
    """Attention heads."""
    patch_size: Positive | Triple = 8
    """Voxels along each axis that one token stands for."""
    input_size: Positive | Triple = 192
    """Voxels along each axis that the model is meant for; any other multiple of the patch is read too."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        encoder = self.encoder()
        size = self.input_size if isinstance(self.input_size, tuple) else (self.input_size,) * 3
        if any(side % step for side, step in zip(size, encoder.patch, strict=True)):
            raise ValueError(f"an input of {self.input_size} voxels cannot be cut into patches of {self.patch_size}")
        return self

    def encoder(self) -> VolumeEncoderConfig:
        """Return the encoder's configuration: everything else is as published."""
        return VolumeEncoderConfig(**self.model_dump(exclude={"input_size"}))


class ColipriConfig(Config):
    """Sizes of a colipri model; the defaults are those of the released one (colipri 0.1.3)."""

    image_encoder: ColipriImageSizes = Field(default_factory=ColipriImageSizes)
    """The vision transformer."""
    projection_dim: Positive = 768
    """Width of the space that images and texts share; texts have no projection, so it is the text encoder's width."""
    image_pooler_heads: Positive = 12
    """Attention heads of the image pooling."""
    text_pooler_heads: Positive = 12
    """Attention heads of the text pooling."""
    text_encoder: BertSizes = Field(default_factory=BertSizes)
    """The BERT."""

    @model_validator(mode="after")
    def _one_space(self) -> Self:
        if self.text_encoder.hidden_size != self.projection_dim:
            raise ValueError(
                f"texts have {self.text_encoder.hidden_size} features and images {self.projection_dim}: they must agree"
            )
        for heads in (self.image_pooler_heads, self.text_pooler_heads):
            if self.projection_dim % heads:
                raise ValueError(f"{heads} pooling heads do not divide {self.projection_dim} features")
        return self
