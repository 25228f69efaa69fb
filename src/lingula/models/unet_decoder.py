"""The decoder of a U-Net: from a feature pyramid back to the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.types import FeatureMap, Images

CHANNELS = (256, 128, 64, 32, 16)
"""Channels of the blocks for a ResNet-50, coarsest first: those of segmentation-models-pytorch."""


class UnetDecoder(nn.Module):
    """Blocks of upsampling and skip connections, and a convolution to the classes (Ronneberger et al. 2015, arXiv 1505.04597).

    It works in the memory format of its weights, whatever that of the pyramid is.

    The blocks are those of segmentation-models-pytorch, so weights of an `smp.Unet` fit: `decoder.*`, `segmentation_head.*`.
    Neighbouring levels of equal size (a dilated encoder) are joined without upsampling.

    Args:
        pyramid_channels: Channels of the encoder's levels, finest first.
        classes: Maps that come out.
        channels: Channels of the blocks, coarsest first; one block per level. None: `CHANNELS`, as many as there are levels.
    """

    def __init__(self, pyramid_channels: Sequence[int], classes: int = 1, channels: Sequence[int] | None = None) -> None:
        from segmentation_models_pytorch.base import SegmentationHead
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder as Blocks

        super().__init__()
        widths = list(CHANNELS[-len(pyramid_channels) :] if channels is None else channels)
        if len(widths) != len(pyramid_channels):
            raise ValueError(f"{len(pyramid_channels)} levels need as many blocks, got channels {widths}")
        self.decoder = Blocks(encoder_channels=(1, *pyramid_channels), decoder_channels=widths, n_blocks=len(widths))
        self.segmentation_head = SegmentationHead(widths[-1], classes, kernel_size=3)

    def forward(self, images: Images, pyramid: Sequence[FeatureMap]) -> Float[Tensor, "batch classes height width"]:
        """Return logits of the images' size.

        Args:
            images: `batch channels height width`; only their size is used.
            pyramid: The encoder's levels, finest first.
        """
        plain = self.segmentation_head[0].weight.is_contiguous()
        layout = torch.contiguous_format if plain else torch.channels_last
        levels = [level.contiguous(memory_format=layout) for level in pyramid]
        logits: Tensor = self.segmentation_head(self.decoder([images, *levels]))
        return logits

    def with_classes(self, classes: int) -> UnetDecoder:
        """Give the decoder a new, random last convolution for other classes; the blocks stay. In place; returned for chaining."""
        old = self.segmentation_head[0]
        fresh = nn.Conv2d(old.in_channels, classes, old.kernel_size, padding=old.padding)
        self.segmentation_head[0] = fresh.to(old.weight.device)
        return self
