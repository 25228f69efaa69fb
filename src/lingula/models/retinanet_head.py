"""torchvision's RetinaNet on the levels of an encoder: feature pyramid network, focal loss, anchors that scale with the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lingula.core.types import FeatureMap, Scalar

LEVELS = 3
ASPECT_RATIOS = (0.5, 1.0, 2.0)
FINEST_SHARE, SHARE_PER_LEVEL, SCALES = 0.05, 3.0, 3
"""Anchors start at this share of the image's side; a level's are so many times larger than the next finer one's, in so many
steps: 5 to 94 % of the side on three levels, about the range of RetinaNet's 32 to 813 pixels on images of 800."""

MOST_GROUPS, LEAST_PER_GROUP = 32, 8
"""Groups of the branches' norm, and channels in one: a single channel would have nothing left on a map of one cell."""


class RetinaNetHead(nn.Module):
    """RetinaNet (Lin et al. 2017, arXiv 1708.02002) behind an encoder that is run elsewhere.

    The branches have group norm as in torchvision's second version: without it narrow ones hardly learn. Its two more levels
    above the coarsest are left out: a cell of the coarsest level already covers much of a radiograph.

    Args:
        channels: Channels of the encoder's levels, finest first; the three coarsest are used, or what there is.
        classes: Classes.
        size: Side of the images, pixels.
        width: Channels of the pyramid network and the heads.
        floor: Score below which nothing is said.
        overlap: Intersection over union from which on the lower of two boxes of one class is suppressed.
        most: Boxes said per image, at most.
    """

    def __init__(
        self, channels: Sequence[int], classes: int, size: int, width: int, floor: float, overlap: float, most: int
    ) -> None:
        from torchvision.models.detection import RetinaNet
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.retinanet import RetinaNetHead as Branches
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__()
        self.size = size
        pyramid = FeaturePyramidNetwork(list(channels[-LEVELS:]), width)
        pyramid.out_channels = width
        sizes = anchor_sizes(len(channels[-LEVELS:]), size)
        norm = partial(nn.GroupNorm, groups_of(width))
        self.net: Any = RetinaNet(
            pyramid,
            classes,
            anchor_generator=AnchorGenerator(sizes, (ASPECT_RATIOS,) * len(sizes)),
            head=Branches(width, SCALES * len(ASPECT_RATIOS), classes, norm_layer=norm),
            score_thresh=floor,
            nms_thresh=overlap,
            detections_per_img=most,
        )

    def loss(self, levels: Sequence[FeatureMap], boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> Scalar:
        """Return focal loss plus L1 loss of the boxes.

        Args:
            levels: The encoder's levels, finest first.
            boxes: Per image `boxes 4`, pixels.
            labels: Per image the boxes' classes, counted from 0.
        """
        features, outputs = self._outputs(levels)
        targets = [{"boxes": own, "labels": label} for own, label in zip(boxes, labels, strict=True)]
        losses = self.net.compute_loss(targets, outputs, self._anchors(features))
        total: Scalar = torch.stack([value.float() for value in losses.values()]).sum()
        return total

    def detect(
        self, levels: Sequence[FeatureMap]
    ) -> list[tuple[Float[Tensor, "boxes 4"], Float[Tensor, " boxes"], Int[Tensor, " boxes"]]]:
        """Return per image boxes, scores and classes, best first, after non-maximum suppression.

        Boxes that lie outside the image are clipped to a line at its edge by torchvision; they are dropped.
        """
        features, outputs = self._outputs(levels)
        counts = [self.net.head.classification_head.num_anchors * f.shape[-2] * f.shape[-1] for f in features]
        split = {name: list(torch.split(values.float(), counts, dim=1)) for name, values in outputs.items()}
        anchors = [list(torch.split(own, counts)) for own in self._anchors(features)]
        found = self.net.postprocess_detections(split, anchors, [(self.size, self.size)] * len(features[0]))
        return [_with_area(each["boxes"], each["scores"], each["labels"]) for each in found]

    def _outputs(self, levels: Sequence[FeatureMap]) -> tuple[list[Tensor], dict[str, Tensor]]:
        named = {str(number): level for number, level in enumerate(levels[-LEVELS:])}
        features = list(self.net.backbone(named).values())
        outputs: dict[str, Tensor] = self.net.head(features)
        return features, outputs

    def _anchors(self, features: list[Tensor]) -> list[Tensor]:
        from torchvision.models.detection.image_list import ImageList

        shape = (len(features[0]), 1, self.size, self.size)
        images = ImageList(features[0].new_empty(1).expand(shape), [(self.size, self.size)] * shape[0])
        anchors: list[Tensor] = self.net.anchor_generator(images, features)
        return anchors


def _with_area(boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return boxes[kept], scores[kept], labels[kept]


def groups_of(width: int) -> int:
    """Return how many groups the norm has: a power of two that divides the width.

    >>> [groups_of(width) for width in (256, 64, 40, 9)]
    [32, 8, 4, 1]
    """
    groups = math.gcd(MOST_GROUPS, width)
    while groups > 1 and width // groups < LEAST_PER_GROUP:
        groups //= 2
    return groups


def anchor_sizes(levels: int, size: int) -> tuple[tuple[float, ...], ...]:
    """Return the anchors' sides of each level, finest first, pixels; at least one pixel.

    >>> [[round(side) for side in level] for level in anchor_sizes(3, 800)]
    [[40, 58, 83], [120, 173, 250], [360, 519, 749]]
    """
    first = [FINEST_SHARE * size * SHARE_PER_LEVEL**level for level in range(levels)]
    return tuple(tuple(max(side * SHARE_PER_LEVEL ** (step / SCALES), 1.0) for step in range(SCALES)) for side in first)
