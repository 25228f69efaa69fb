"""A decoder, perhaps with its encoder, trained on some masks, stopped where validation is best."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.core.randomness import random_generator
from lingula.core.types import Images, RowNumbers
from lingula.data.augment import ImageTransform
from lingula.evaluation.encoder import DenseTrainable
from lingula.evaluation.segment_config import DecoderName, EncoderName, SegmentConfig
from lingula.evaluation.segmentation_descent import TrainedSegmenter, mean_dice, train_to_best
from lingula.evaluation.segmentation_scores import PixelCounts
from lingula.evaluation.segmentation_truth import SegmentationTruth
from lingula.evaluation.segmenter import Segmenter, batches_of_truth, build_segmenter, count_pixels, placed
from lingula.objectives.segmentation import ClassMaps, segmentation_loss


def train_segmenter(
    given: DenseTrainable,
    truth: SegmentationTruth,
    config: SegmentConfig,
    variant: tuple[EncoderName, DecoderName],
    train: RowNumbers,
    val: RowNumbers,
    seed: int,
) -> TrainedSegmenter[Segmenter]:
    """Train on some rows, keep the weights of the best validation on others.

    Args:
        given: A copy of the encoder (and its decoder); its weights change.
        truth: The masks.
        config: Loss, steps, batch, learning rate, patience.
        variant: Encoder frozen or fine-tuned, decoder random or pre-trained.
        train: Rows to learn from.
        val: Rows to choose the step by.
        seed: Decides the new weights, order and augmentation.

    Raises:
        UserError: There is nothing to learn from or to choose by, the parts do not fit, or a loss is not finite.
    """
    for rows, what in ((train, "training"), (val, "validation")):
        if not len(rows):
            raise UserError(f"no {what} image says where a finding is", "Give a larger --fraction, or use --folds 5.")
    with torch.random.fork_rng(devices=[]), ProgressBar("segmentation", config.steps) as bar:
        torch.manual_seed(seed)
        network = build_segmenter(given, len(truth.findings), config, *variant)
        batches = training_batches(truth, given.transform, config, train, seed)
        return train_to_best(
            network,
            batches,
            lambda batch: _loss(network, config, *batch),
            lambda: validate(network, truth, given.transform, config, val),
            config,
            bar,
            config.choose_by,
        )


def validate(
    network: Segmenter, truth: SegmentationTruth, transform: ImageTransform, config: SegmentConfig, rows: RowNumbers
) -> tuple[float, PixelCounts]:
    """Return what the best step is chosen by, the higher the better, and the pixels it comes from.

    By Dice: the best pooled Dice over thresholds, mean over the findings that validation has; NaN where it has none. By
    loss, as MGCA: minus the mean over batches, without an incomplete last one where there is a whole one.
    """
    counts = count_pixels(network, truth, transform, rows)
    if config.choose_by == "dice":
        return mean_dice(counts), counts
    losses: list[float] = []
    with torch.inference_mode():
        for images, masks, known in batches_of_truth(truth, transform, rows, config.batch):
            if len(images) == config.batch or not losses:
                losses.append(_loss(network, config, images, masks, known).item())
    return -float(np.mean(losses)), counts


def training_batches(
    truth: SegmentationTruth, transform: ImageTransform, config: SegmentConfig, rows: RowNumbers, seed: int
) -> Iterator[tuple[Images, ClassMaps, Tensor]]:
    """Yield images, masks and what of them is known, for ever, every image once per epoch; an incomplete batch is dropped."""
    size = min(config.batch, len(rows))
    ids, epoch = truth.store.column("row_id"), 0
    while True:
        order = random_generator("segment", seed, epoch).permutation(rows)
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            if config.augment:
                keys = [(seed, epoch, str(ids[row])) for row in chosen]
                pixels, stacks = [truth.store.pixels(int(row)) for row in chosen], [truth.masks(int(row)) for row in chosen]
                yield *transform.train_with_masks(pixels, stacks, keys), torch.from_numpy(truth.known[chosen])
            else:
                yield from batches_of_truth(truth, transform, chosen, size)
        epoch += 1


def _loss(network: Segmenter, config: SegmentConfig, images: Images, masks: ClassMaps, known: Tensor) -> Tensor:
    logits = network(placed(images, network))
    return segmentation_loss(logits, masks.to(network.device), known.to(network.device), config.loss)
