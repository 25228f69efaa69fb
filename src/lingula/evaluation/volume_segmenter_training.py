"""A decoder of volumes, perhaps with its encoder, trained on crops, stopped where validation on whole volumes is best."""

from __future__ import annotations

import torch
from torch import Tensor

from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.core.types import RowNumbers
from lingula.evaluation.segment_config import EncoderName, SegmentConfig
from lingula.evaluation.segmentation_descent import TrainedSegmenter, mean_dice, train_to_best
from lingula.evaluation.segmentation_scores import PixelCounts
from lingula.evaluation.volume_encoder import VolumeTrainable
from lingula.evaluation.volume_segment_config import HeadName
from lingula.evaluation.volume_segmenter import VolumeSegmenter, WholeVolumes, build_volume_segmenter
from lingula.evaluation.volume_truth import CropBatch, VolumeTruth
from lingula.objectives.segmentation import segmentation_loss


def train_volume_segmenter(
    given: VolumeTrainable,
    truth: VolumeTruth,
    config: SegmentConfig,
    volumes: WholeVolumes,
    variant: tuple[EncoderName, HeadName],
    train: RowNumbers,
    val: RowNumbers,
    seed: int,
) -> TrainedSegmenter[VolumeSegmenter]:
    """Train on crops of some volumes, keep the weights of the best validation on others, whole.

    Args:
        given: A copy of the encoder; its weights change.
        truth: The masks.
        config: Loss, steps, learning rate, patience; crops in `volume`.
        volumes: How whole volumes are predicted, and the size of the crops.
        variant: Encoder frozen or fine-tuned, and which decoder.
        train: Rows to learn from.
        val: Rows to choose the step by.
        seed: Decides the new weights, order, places and variation.

    Raises:
        UserError: There is nothing to learn from or to choose by, the crop does not fit the encoder, or a loss is not finite.
    """
    for rows, what in ((train, "training"), (val, "validation")):
        if not len(rows):
            raise UserError(f"no {what} volume says where a finding is", "Give a larger --fraction, or use --folds 5.")
    own = config.volume
    batches = truth.batches(given.crop, volumes.size, train, own.batch, own.foreground, config.augment, seed)
    with torch.random.fork_rng(devices=[]), ProgressBar("segmentation", config.steps) as bar:
        torch.manual_seed(seed)
        network = build_volume_segmenter(given, len(truth.findings), own, *variant)

        def loss(batch: CropBatch) -> Tensor:
            return volume_segmentation_loss(network(batch[0].to(network.device)), batch, config)

        def validate() -> tuple[float, PixelCounts]:
            counts, _ = volumes.count(network, truth, val)
            return mean_dice(counts), counts

        return train_to_best(network, batches, loss, validate, config, bar)


def volume_segmentation_loss(logits: Tensor, batch: CropBatch, config: SegmentConfig) -> Tensor:
    """`segmentation_loss` over the voxels of all crops, for `batch findings x y z`."""
    _, masks, known = batch
    flat, target = logits.flatten(3), masks.to(logits.device).flatten(3)
    return segmentation_loss(flat, target, known.to(logits.device), config.loss)
