"""A decoder of volumes, perhaps with its encoder, trained on crops, stopped where validation on whole volumes is best."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.core.types import RowNumbers
from lingula.evaluation.segment_config import EncoderName, SegmentConfig
from lingula.evaluation.segmentation_scores import PixelCounts
from lingula.evaluation.volume_encoder import VolumeTrainable
from lingula.evaluation.volume_segment_config import HeadName
from lingula.evaluation.volume_segmenter import VolumeSegmenter, WholeVolumes, build_volume_segmenter
from lingula.evaluation.volume_truth import CropBatch, VolumeTruth
from lingula.objectives.segmentation import segmentation_loss


@dataclass(frozen=True)
class TrainedVolumeSegmenter:
    """A segmenter of volumes with the weights of its best validation.

    Args:
        network: Volumes to logits, in evaluation mode.
        step: The step of that validation.
        quality: Pooled Dice at the best thresholds there, mean over findings; NaN where validation has nothing to find.
        on_val: The voxels it predicts on validation.
    """

    network: VolumeSegmenter
    step: int
    quality: float
    on_val: PixelCounts


def train_volume_segmenter(
    given: VolumeTrainable,
    truth: VolumeTruth,
    config: SegmentConfig,
    volumes: WholeVolumes,
    variant: tuple[EncoderName, HeadName],
    train: RowNumbers,
    val: RowNumbers,
    seed: int,
) -> TrainedVolumeSegmenter:
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
        learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(learned, lr=config.rate, weight_decay=config.weight_decay)
        best: TrainedVolumeSegmenter | None = None
        best_weights, waited = network.state_dict(), 0
        for step in range(1, config.steps + 1):
            _descend(network.train(), optimiser, config, next(batches))
            bar.advance()
            if step % config.every and step != config.steps:
                continue
            counts, _ = volumes.count(network, truth, val)
            quality = _mean_dice(counts)
            bar.note(f"validation dice {quality:.3f}")
            waited += 1
            if best is None or not quality <= best.quality:
                best, waited = TrainedVolumeSegmenter(network, step, quality, counts), 0
                best_weights = copy.deepcopy(network.state_dict())
            if waited >= config.patience:
                break
    assert best is not None, "the last step is validated"
    network.load_state_dict(best_weights)
    network.eval()
    return best


def volume_segmentation_loss(logits: Tensor, batch: CropBatch, config: SegmentConfig) -> Tensor:
    """`segmentation_loss` over the voxels of all crops, for `batch findings x y z`."""
    _, masks, known = batch
    flat, target = logits.flatten(3), masks.to(logits.device).flatten(3)
    return segmentation_loss(flat, target, known.to(logits.device), config.loss)


def _descend(network: VolumeSegmenter, optimiser: torch.optim.Optimizer, config: SegmentConfig, batch: CropBatch) -> None:
    loss = volume_segmentation_loss(network(batch[0].to(network.device)), batch, config)
    if not math.isfinite(loss.item()):
        raise UserError(f"the loss of segmentation is {loss.item()}", "Lower --segment.rate.")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _mean_dice(counts: PixelCounts) -> float:
    dice = counts.best()[1]
    return float("nan") if np.isnan(dice).all() else float(np.nanmean(dice))
