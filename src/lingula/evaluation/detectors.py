"""A detector: an image encoder, frozen or not, and a detection head on its feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lingula.core.types import FeatureMap, Images, Scalar
from lingula.evaluation.detect_config import DetectConfig
from lingula.evaluation.detection import FoundBoxes, TrueBoxes
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.retinanet_head import RetinaNetHead
from lingula.models.yolo_grid import YoloGrid
from lingula.models.yolo_head import YoloHead
from lingula.objectives import AssignedBoxes, yolo_loss

LEVELS = 3
"""The coarsest levels of the pyramid, which every head looks at."""
FLOOR = 0.01
"""Score below which a detector says nothing."""
MOST = 100
"""Boxes per image, at most, as COCO counts them."""
Found = tuple[Tensor, Tensor, Tensor]
"""Boxes `boxes 4`, scores, classes of one image, best first."""


class Head(Protocol):
    """What a detection head can do."""

    def loss(self, levels: Sequence[FeatureMap], boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> Scalar:
        """Return the loss on a batch."""
        ...

    def detect(self, levels: Sequence[FeatureMap]) -> list[Found]:
        """Return what is found in each image of a batch, in seen pixels."""
        ...


class Detector(nn.Module):
    """Encoder and head.

    Args:
        encoder: Has a feature pyramid; a frozen one stays in evaluation mode and gets no gradient.
        classes: Classes.
        size: Side of the images, pixels.
        config: Which head, and whether the encoder is frozen.

    Raises:
        UserError: The encoder has no pyramid, or too few levels for the head.
    """

    def __init__(self, encoder: RadiographEncoder, classes: int, size: int, config: DetectConfig) -> None:
        super().__init__()
        self.encoder, self.frozen = encoder, config.encoder == "frozen"
        channels = encoder.pyramid_channels
        if config.head == "yolo":
            self.head: nn.Module = YoloDetection(channels, classes, size, config)
        else:
            self.head = RetinaNetHead(channels, classes, size, config.width, FLOOR, config.suppress, MOST)
        if self.frozen:
            self.encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> Detector:
        """Switch the mode; a frozen encoder's batch norm keeps its statistics."""
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self

    def levels(self, images: Images) -> list[FeatureMap]:
        """Return the levels that the head looks at, finest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.encoder.pyramid(images)[1][-LEVELS:]

    def loss(self, levels: Sequence[FeatureMap], truth: Sequence[TrueBoxes]) -> Scalar:
        """Return the head's loss on a batch.

        Args:
            levels: Of the batch's images.
            truth: Per image the boxes in seen pixels.
        """
        device = levels[0].device
        boxes = [torch.as_tensor(own.boxes, dtype=torch.float32, device=device) for own in truth]
        labels = [torch.as_tensor(own.labels, dtype=torch.long, device=device) for own in truth]
        loss: Scalar = self.head.loss(levels, boxes, labels)  # type: ignore[operator]
        return loss

    def detect(self, levels: Sequence[FeatureMap]) -> list[FoundBoxes]:
        """Return per image what is found, in seen pixels, best first."""
        found: list[Found] = self.head.detect(levels)  # type: ignore[operator]
        return [
            FoundBoxes(boxes.cpu().numpy().astype(np.float64), scores.cpu().numpy().astype(np.float64), labels.cpu().numpy())
            for boxes, scores, labels in found
        ]


class YoloDetection(nn.Module):
    """YOLOv3's head with its assignment, loss, decoding and suppression.

    Args:
        channels: Channels of the encoder's levels, finest first.
        classes: Classes.
        size: Side of the images, pixels.
        config: Thresholds.
    """

    def __init__(self, channels: Sequence[int], classes: int, size: int, config: DetectConfig) -> None:
        super().__init__()
        self.net = YoloHead(channels, classes)
        self.size, self.config = size, config

    def loss(self, levels: Sequence[FeatureMap], boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> Scalar:
        """Return `yolo_loss` on a batch."""
        from torchvision.ops import box_iou

        grid, outputs = self._grid(levels), self.net(levels).float()
        overlap = outputs.new_zeros(outputs.shape[:2])
        with torch.no_grad():
            decoded = grid.decode(outputs[..., :4])
            for number, own in enumerate(boxes):
                if len(own):
                    overlap[number] = box_iou(decoded[number], own).amax(dim=1)
        return yolo_loss(outputs, assign(grid, boxes, labels), overlap, self.config.ignore)

    def detect(self, levels: Sequence[FeatureMap]) -> list[Found]:
        """Decode, drop low scores, suppress boxes that overlap a better one of their class."""
        grid, outputs = self._grid(levels), self.net(levels).float()
        boxes = grid.decode(outputs[..., :4]).clamp(0, self.size)
        scores = outputs[..., 4:5].sigmoid()
        if outputs.shape[-1] > 5:
            scores = scores * outputs[..., 5:].sigmoid()
        return [self._best(*each) for each in zip(boxes, scores, strict=True)]

    def _best(self, boxes: Tensor, scores: Tensor) -> Found:
        from torchvision.ops import batched_nms

        good = (scores >= FLOOR) & ((boxes[:, 2:] > boxes[:, :2]).all(dim=1, keepdim=True))
        predictor, label = torch.nonzero(good, as_tuple=True)
        boxes, scores = boxes[predictor], scores[predictor, label]
        kept = batched_nms(boxes, scores, label, self.config.suppress)[:MOST]
        return boxes[kept], scores[kept], label[kept]

    def _grid(self, levels: Sequence[FeatureMap]) -> YoloGrid:
        shapes = [(int(level.shape[-2]), int(level.shape[-1])) for level in levels[-LEVELS:]]
        return YoloGrid.of(shapes, self.size, levels[0].device)


def assign(grid: YoloGrid, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> AssignedBoxes:
    """Give the boxes of a batch their predictors.

    Args:
        grid: The predictors.
        boxes: Per image `boxes 4`, pixels.
        labels: Per image the boxes' classes.
    """
    parts = []
    for number, (own, label) in enumerate(zip(boxes, labels, strict=True)):
        kept, predictor = grid.assign(own)
        own = own[kept]
        share = (own[:, 2:] - own[:, :2]).prod(dim=1) / grid.size**2
        parts.append((torch.full_like(predictor, number), predictor, grid.encode(own, predictor), share, label[kept]))
    return AssignedBoxes(*(torch.cat(column) for column in zip(*parts, strict=True)))
