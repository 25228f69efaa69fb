"""What each output of a YOLOv3 head stands for: a cell, an anchor, and the box that they make of four numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
"""Width and height of YOLOv3's anchors for COCO images of `ANCHOR_SIDE` pixels, three per level, finest level first."""
ANCHOR_SIDE = 416
PER_LEVEL = 3
LARGEST_GROWTH = 4.0
"""Most that the logarithm of a side may differ from its anchor's; beyond it lies no image."""


@dataclass(frozen=True)
class YoloGrid:
    """The predictors of a head for square images of one size, level by level, anchor by anchor, row by row.

    Args:
        cells: Column and row of each predictor's cell.
        strides: Pixels per cell.
        anchors: Width and height of each predictor's anchor, pixels.
        levels: Rows and columns of each level.
        size: Side of the images, pixels.
    """

    cells: Float[Tensor, "predictors 2"]
    strides: Float[Tensor, "predictors 2"]
    anchors: Float[Tensor, "predictors 2"]
    levels: tuple[tuple[int, int], ...]
    size: int

    @classmethod
    def of(cls, levels: Sequence[tuple[int, int]], size: int, device: torch.device | None = None) -> YoloGrid:
        """Lay out the predictors; the anchors are COCO's, scaled with the image.

        Args:
            levels: Rows and columns of the three levels, finest first.
            size: Side of the images, pixels.
            device: Where the tensors live.
        """
        cells, strides, anchors = [], [], []
        scaled = torch.tensor(ANCHORS, dtype=torch.float32, device=device) * (size / ANCHOR_SIDE)
        for number, (rows, columns) in enumerate(levels):
            row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            places = torch.stack([column, row], dim=2).reshape(-1, 2).float().to(device)
            cells.append(places.repeat(PER_LEVEL, 1))
            strides.append(torch.tensor([[size / columns, size / rows]], device=device).expand(PER_LEVEL * len(places), 2))
            anchors.append(scaled[number * PER_LEVEL : (number + 1) * PER_LEVEL].repeat_interleave(len(places), 0))
        return cls(torch.cat(cells), torch.cat(strides), torch.cat(anchors), tuple(levels), size)

    def decode(self, coded: Float[Tensor, "batch predictors 4"]) -> Float[Tensor, "batch predictors 4"]:
        """Turn outputs into boxes x1, y1, x2, y2, pixels.

        Centre = (cell + sigmoid(t_xy)) · stride, sides = anchor · exp(t_wh) (Redmon and Farhadi 2018, arXiv 1804.02767, §2.1).
        """
        centre = (self.cells + coded[..., :2].sigmoid()) * self.strides
        half = self.anchors * coded[..., 2:].clamp(-LARGEST_GROWTH, LARGEST_GROWTH).exp() / 2
        return torch.cat([centre - half, centre + half], dim=-1)

    def encode(self, boxes: Float[Tensor, "boxes 4"], predictors: Int[Tensor, " boxes"]) -> Float[Tensor, "boxes 4"]:
        """What predictors have to say for boxes: the centre's place in the cell, 0 to 1, and the log ratio of the sides.

        It is the inverse of `decode` but for the sigmoid, which a cross-entropy takes in itself.
        """
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / self.strides[predictors] - self.cells[predictors]
        sides = (boxes[:, 2:] - boxes[:, :2]) / self.anchors[predictors]
        return torch.cat([centre, sides.log()], dim=1)

    def assign(self, boxes: Float[Tensor, "boxes 4"]) -> tuple[Int[Tensor, " kept"], Int[Tensor, " kept"]]:
        """Give each box of an image to one predictor: the anchor of the most similar shape, in the cell of the box's centre.

        Of two boxes that meet at one predictor the one that fits the anchor better keeps it, and the other has none.

        Returns:
            Numbers of the boxes that have a predictor, and their predictors.
        """
        scale = boxes.new_tensor(self.size / ANCHOR_SIDE)
        overlap = shape_iou(boxes[:, 2:] - boxes[:, :2], boxes.new_tensor(ANCHORS) * scale)
        fit, anchor = overlap.max(dim=1)
        predictors = self._predictor(anchor, (boxes[:, :2] + boxes[:, 2:]) / 2)
        order = torch.argsort(fit, descending=True, stable=True)
        first: dict[int, int] = {}
        for box in order.tolist():
            first.setdefault(int(predictors[box]), box)
        kept = torch.tensor(sorted(first.values()), dtype=torch.long, device=boxes.device)
        return kept, predictors[kept]

    def _predictor(self, anchor: Int[Tensor, " boxes"], centre: Float[Tensor, "boxes 2"]) -> Int[Tensor, " boxes"]:
        shape = torch.tensor(self.levels, device=anchor.device)
        first = torch.cat([shape.new_zeros(1), (PER_LEVEL * shape.prod(dim=1)).cumsum(0)[:-1]])
        level, rows, columns = anchor // PER_LEVEL, *shape[anchor // PER_LEVEL].unbind(1)
        column = (centre[:, 0] * columns / self.size).long().clamp(min=0).minimum(columns - 1)
        row = (centre[:, 1] * rows / self.size).long().clamp(min=0).minimum(rows - 1)
        return first[level] + ((anchor % PER_LEVEL) * rows + row) * columns + column


def shape_iou(sides: Float[Tensor, "boxes 2"], anchors: Float[Tensor, "anchors 2"]) -> Float[Tensor, "boxes anchors"]:
    """Intersection over union of boxes and anchors laid on one centre."""
    inside = torch.minimum(sides[:, None], anchors[None]).prod(dim=2)
    return inside / (sides.prod(dim=1)[:, None] + anchors.prod(dim=1)[None] - inside)
