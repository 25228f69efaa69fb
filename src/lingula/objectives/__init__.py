"""Objectives: pure functions of tensors, computed in fp32 whatever the precision of their inputs (float64 stays float64)."""

from __future__ import annotations

from lingula.objectives.alignment import alignment_loss
from lingula.objectives.contrastive import contrastive_loss
from lingula.objectives.dice_bce import dice_bce_loss, dice_bce_of_each
from lingula.objectives.masked_image import hidden_patches, kept_patches, masked_image_error
from lingula.objectives.opposite_sentence import opposite_margins, opposite_sentence_loss
from lingula.objectives.orthogonality import effective_rank, orthogonality_floor, orthogonality_loss
from lingula.objectives.pseudo_masks import pseudo_masks
from lingula.objectives.report_generation import report_errors
from lingula.objectives.segmentation import segmentation_loss
from lingula.objectives.yolo_loss import AssignedBoxes, yolo_loss

__all__ = [
    "AssignedBoxes",
    "alignment_loss",
    "contrastive_loss",
    "dice_bce_loss",
    "dice_bce_of_each",
    "effective_rank",
    "hidden_patches",
    "kept_patches",
    "masked_image_error",
    "opposite_margins",
    "opposite_sentence_loss",
    "orthogonality_floor",
    "orthogonality_loss",
    "pseudo_masks",
    "report_errors",
    "segmentation_loss",
    "yolo_loss",
]
