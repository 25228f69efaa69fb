"""Configuration of the image encoder; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lingula.core.config import Config


class ImageEncoderConfig(Config):
    """Which network reads the radiographs."""

    name: str = "resnet50"
    """Any timm encoder, with or without a weights tag, e.g. `resnet50.tv_in1k`."""
    weights: str = "none"
    """Where it starts from: `none` (random), `imagenet` (from the extra `imagenet` for `efficientnet_lite0`, else from the
    hub or its local cache), or a safetensors file."""
    channels: Literal[1, 3] = 1
    """Input channels; with 3 the grey image is repeated, and weights made for 3 are summed where it is 1."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth: largest probability to skip a residual block in training."""
    output_stride: Literal[8, 16, 32] | None = None
    """Pixels per cell of the feature map, where the network can be dilated; nothing: as the network is."""
    pooling: Literal["mean", "mean-max"] = "mean"
    """How the cells of the feature map become one vector: the network's own mean, or mean and maximum side by side, which
    keeps findings that fill one cell of many."""
