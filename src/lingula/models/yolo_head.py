"""The convolutions of YOLOv3: three levels of a feature pyramid in, boxes, objectness and classes per anchor out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.core.types import FeatureMap
from lingula.models.yolo_grid import PER_LEVEL

LEVELS = 3
SMALLEST_WIDTH, LARGEST_WIDTH = 32, 512
CHANNELS_PER_WIDTH = 4
"""A level's blocks are this many times narrower than the level: 512, 256 and 128 channels for a ResNet-50, as in Darknet-53."""
PRIOR = 0.01
"""Objectness at the start: nearly every predictor sees background."""


class YoloHead(nn.Module):
    """YOLOv3's detection layers (Redmon and Farhadi 2018, arXiv 1804.02767, §2.3), coarse levels feeding the finer ones.

    Args:
        channels: Channels of the encoder's levels, finest first; the three coarsest are used.
        classes: Classes; a single one has no output of its own, its score is the objectness.

    Raises:
        UserError: The pyramid has fewer than three levels.
    """

    def __init__(self, channels: Sequence[int], classes: int = 1) -> None:
        super().__init__()
        if len(channels) < LEVELS:
            remedy = "Choose another image encoder, e.g. resnet50, or --detect.head retinanet."
            raise UserError(f"YOLO needs {LEVELS} levels, the image encoder has {len(channels)}", remedy)
        self.outputs = 5 + (classes if classes > 1 else 0)
        self.neck, self.head, self.route = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        widths = [min(max(own // CHANNELS_PER_WIDTH, SMALLEST_WIDTH), LARGEST_WIDTH) for own in channels[-LEVELS:]]
        for level, (own, width) in enumerate(zip(channels[-LEVELS:], widths, strict=True)):
            routed = width if level < LEVELS - 1 else 0
            self.route.append(_block(widths[level + 1], width, 1) if routed else nn.Identity())
            steps = [(own + routed, width, 1), (width, 2 * width, 3), (2 * width, width, 1), (width, 2 * width, 3)]
            self.neck.append(nn.Sequential(*(_block(*step) for step in steps), _block(2 * width, width, 1)))
            last = nn.Conv2d(2 * width, PER_LEVEL * self.outputs, 1)
            _start_with_background(last, self.outputs)
            self.head.append(nn.Sequential(_block(width, 2 * width, 3), last))

    def forward(self, levels: Sequence[FeatureMap]) -> Float[Tensor, "batch predictors outputs"]:
        """Return t_x, t_y, t_w, t_h, objectness and class logits of every predictor, in the order of `YoloGrid`.

        Args:
            levels: The encoder's levels, finest first.
        """
        flat: list[Tensor] = []
        coarser: Tensor | None = None
        for number in reversed(range(LEVELS)):
            features = levels[number - LEVELS]
            if coarser is not None:
                above = F.interpolate(self.route[number](coarser), features.shape[-2:], mode="nearest")
                features = torch.cat([above, features], dim=1)
            coarser = self.neck[number](features)
            maps = self.head[number](coarser).unflatten(1, (PER_LEVEL, self.outputs))
            flat.insert(0, maps.permute(0, 1, 3, 4, 2).flatten(1, 3))
        return torch.cat(flat, dim=1)


def _block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1))


def _start_with_background(last: nn.Conv2d, outputs: int) -> None:
    """Begin with boxes like the anchors and an objectness of `PRIOR` everywhere."""
    nn.init.normal_(last.weight, std=0.01)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    with torch.no_grad():
        last.bias.view(PER_LEVEL, outputs)[:, 4] = math.log(PRIOR / (1 - PRIOR))
