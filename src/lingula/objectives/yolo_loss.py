"""The loss of a YOLOv3 detector on assigned boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lingula.core.types import Scalar
from lingula.objectives.precision import full_precision, no_autocast


@dataclass(frozen=True)
class AssignedBoxes:
    """The boxes of a batch, each with the predictor that has to find it.

    Args:
        image: Number of the box's image in the batch.
        predictor: Number of its predictor.
        coded: What the predictor has to say: centre within the cell (0 to 1), log ratio of the sides to the anchor's.
        share: Share of the image's area that the box covers.
        label: Its class, counted from 0.
    """

    image: Int[Tensor, " boxes"]
    predictor: Int[Tensor, " boxes"]
    coded: Float[Tensor, "boxes 4"]
    share: Float[Tensor, " boxes"]
    label: Int[Tensor, " boxes"]


def yolo_loss(
    outputs: Float[Tensor, "batch predictors outputs"],
    assigned: AssignedBoxes,
    overlap: Float[Tensor, "batch predictors"],
    ignore: float = 0.5,
) -> Scalar:
    """Objectness of every predictor, place, size and class of the assigned ones; summed over predictors, mean over images.

        L = 1/B [ Σ_counted BCE(o, 1 if assigned else 0)
                  + Σ_assigned (2 - share) (Σ_xy BCE(t, place in the cell) + ½ Σ_wh (t - log ratio)²) + Σ_assigned Σ_class BCE ]

    A predictor without a box of its own whose prediction overlaps some box by more than `ignore` is not counted: it is nearly
    right (Redmon and Farhadi 2018, arXiv 1804.02767, §2.1). Small boxes weigh up to twice as much as one that fills the image,
    as in the authors' implementation.

    Args:
        outputs: t_x, t_y, t_w, t_h, objectness logit, then class logits (none where there is only one class).
        assigned: The boxes.
        overlap: Largest intersection over union of each predicted box with a box of its image; no gradient flows into it.
        ignore: Overlap from which on an unassigned predictor is not counted.
    """
    with no_autocast(outputs):
        return _loss(full_precision(outputs), assigned, overlap, ignore)


def _loss(
    outputs: Float[Tensor, "batch predictors outputs"],
    assigned: AssignedBoxes,
    overlap: Float[Tensor, "batch predictors"],
    ignore: float,
) -> Scalar:
    objectness = outputs[..., 4]
    target = torch.zeros_like(objectness)
    target[assigned.image, assigned.predictor] = 1.0
    counted: Bool[Tensor, "batch predictors"] = (target > 0) | (overlap <= ignore)
    loss = F.binary_cross_entropy_with_logits(objectness, target, reduction="none")[counted].sum()
    own = outputs[assigned.image, assigned.predictor]
    coded = assigned.coded.to(outputs)
    weight = (2 - assigned.share.to(outputs))[:, None]
    place = F.binary_cross_entropy_with_logits(own[:, :2], coded[:, :2], reduction="none")
    size = (own[:, 2:4] - coded[:, 2:]).square() / 2
    loss = loss + (weight * (place + size)).sum()
    if outputs.shape[-1] > 5:
        labels = F.one_hot(assigned.label, outputs.shape[-1] - 5).to(outputs)
        loss = loss + F.binary_cross_entropy_with_logits(own[:, 5:], labels, reduction="sum")
    return loss / len(outputs)
