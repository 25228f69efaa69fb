"""Train a detector on some boxes, stop where validation is best, look for boxes in images."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.core.randomness import random_generator
from lingula.core.types import FeatureMap, RowNumbers
from lingula.data.augment import ImageTransform
from lingula.data.augment_boxes import evaluated_boxes, stored_boxes, varied_boxes
from lingula.data.store import Store
from lingula.evaluation.detect_config import DetectConfig
from lingula.evaluation.detection import FoundBoxes, TrueBoxes
from lingula.evaluation.detection_scores import strict_map
from lingula.evaluation.detection_truth import DetectionTruth
from lingula.evaluation.detectors import Detector

EPOCHS = 50
FEW = 0.01
"""Fraction of the labels up to which the published protocol takes small steps."""
FEW_BATCH, FEW_RATE = 8, 2e-4
BATCH, RATE = 16, 5e-4
ENCODER_SHARE = 0.1
"""Rate of a fine-tuned encoder, as a share of the head's."""
LEAST_STEPS_BETWEEN = 10
AT_ONCE = 64
"""Images looked at together."""
KEPT_BYTES = 2**30
"""Most memory for the feature maps of the validation images, which a frozen encoder gives once and for all."""


@dataclass(frozen=True)
class Schedule:
    """The numbers of one training.

    Args:
        batch: Images per step.
        rate: Learning rate of the head.
        steps: Most steps.
        every: Steps between validations.
    """

    batch: int
    rate: float
    steps: int
    every: int

    @classmethod
    def of(cls, config: DetectConfig, fraction: float, images: int) -> Schedule:
        """Return what is asked for, else what the published protocol has for this fraction of the labels."""
        few = fraction <= FEW
        batch = min(config.batch or (FEW_BATCH if few else BATCH), images)
        epoch = max(images // batch, 1)
        steps = config.steps or EPOCHS * epoch
        return cls(batch, config.rate or (FEW_RATE if few else RATE), steps, config.every or max(epoch, LEAST_STEPS_BETWEEN))


@dataclass(frozen=True)
class Tuned:
    """Where a training stopped.

    Args:
        step: The step of the best validation, whose weights the detector has.
        quality: Strict mAP there.
    """

    step: int
    quality: float


def train_detector(
    detector: Detector,
    transform: ImageTransform,
    store: Store,
    truth: DetectionTruth,
    train: RowNumbers,
    val: RowNumbers,
    config: DetectConfig,
    schedule: Schedule,
    seed: int,
) -> Tuned:
    """Train on some rows, keep the weights of the best strict mAP on others.

    Args:
        detector: Its weights change: those of the head and, where it is not frozen, of the encoder.
        transform: Grey values to images.
        store: The images.
        truth: The boxes.
        train: Rows to learn from.
        val: Rows to choose the step by.
        config: Augmentation, weight decay, patience.
        schedule: Batch, rate, steps.
        seed: Decides order and augmentation.

    Raises:
        UserError: There are fewer than two images to learn from, or a loss is not finite.
    """
    if len(train) < 2:
        raise UserError(f"training a detector on {len(train)} image is not possible", "Give a larger --fraction.")
    groups = [{"params": list(detector.head.parameters()), "lr": schedule.rate}]
    if not detector.frozen:
        groups.append({"params": list(detector.encoder.parameters()), "lr": schedule.rate * ENCODER_SHARE})
    optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    batches = _batches(transform, store, truth, train, schedule.batch, config.augment, seed)
    validation = _Lookout(detector, transform, store, val)
    learner = detector.head if detector.frozen else detector
    best, weights, waited = Tuned(0, -math.inf), copy.deepcopy(learner.state_dict()), 0
    with ProgressBar("training a detector", schedule.steps) as bar:
        for step in range(1, schedule.steps + 1):
            _descend(detector.train(), optimiser, *next(batches))
            bar.advance()
            if step % schedule.every and step != schedule.steps:
                continue
            known = strict_map([truth.of[int(row)] for row in val], validation.look(), len(truth.classes))
            bar.note(f"validation mAP {known:.3f}")
            waited += best.quality > 0
            if known > best.quality:
                best, weights, waited = Tuned(step, known), copy.deepcopy(learner.state_dict()), 0
            if waited >= config.patience:
                break
    learner.load_state_dict(weights)
    detector.eval()
    return best


def look_for(detector: Detector, transform: ImageTransform, store: Store, rows: RowNumbers) -> list[FoundBoxes]:
    """Return what a detector finds in stored images, in stored pixels."""
    return _Lookout(detector, transform, store, rows, keep=False).look()


class _Lookout:
    """Rows that are looked at again and again; the maps of a frozen encoder are kept where memory allows."""

    def __init__(self, detector: Detector, transform: ImageTransform, store: Store, rows: RowNumbers, keep: bool = True) -> None:
        self.detector, self.transform, self.store, self.rows = detector, transform, store, rows
        self.keep = keep and detector.frozen
        self.kept: list[list[FeatureMap]] = []

    def look(self) -> list[FoundBoxes]:
        """Return what is found in each row, in stored pixels."""
        self.detector.eval()
        found = []
        with torch.inference_mode():
            for levels in self._levels():
                found += self.detector.detect(levels)
        size = self.store.size
        return [FoundBoxes(stored_boxes(each.boxes, size, self.transform), each.scores, each.labels) for each in found]

    def _levels(self) -> Iterator[list[FeatureMap]]:
        for number, start in enumerate(range(0, len(self.rows), AT_ONCE)):
            if number < len(self.kept):
                yield self.kept[number]
                continue
            pixels = [self.store.pixels(int(row)) for row in self.rows[start : start + AT_ONCE]]
            levels = self.detector.levels(_placed(self.transform.evaluate(pixels), self.detector))
            size = sum(level.nbytes for level in levels)
            if self.keep and number == len(self.kept) and (number + 1) * size <= KEPT_BYTES:
                self.kept.append(levels)
            yield levels


def _batches(
    transform: ImageTransform, store: Store, truth: DetectionTruth, rows: RowNumbers, size: int, augment: bool, seed: int
) -> Iterator[tuple[Tensor, list[TrueBoxes]]]:
    """Yield images and boxes for ever, every image once per epoch; an incomplete last batch is dropped."""
    ids, epoch = store.column("row_id"), 0
    while True:
        order = random_generator("detect", seed, epoch).permutation(rows)
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size].tolist()
            pixels, own = [store.pixels(row) for row in chosen], [truth.of[row] for row in chosen]
            if augment:
                keys = [(seed, epoch, str(ids[row])) for row in chosen]
                images = transform.train(pixels, keys)
                moved = varied_boxes([each.boxes for each in own], store.size, transform, keys)
            else:
                images = transform.evaluate(pixels)
                moved = [evaluated_boxes(each.boxes, store.size, transform) for each in own]
            yield images, [TrueBoxes(boxes, each.labels[kept]) for each, (boxes, kept) in zip(own, moved, strict=True)]
        epoch += 1


def _descend(detector: Detector, optimiser: torch.optim.Optimizer, images: Tensor, truth: list[TrueBoxes]) -> None:
    loss = detector.loss(detector.levels(_placed(images, detector)), truth)
    if not math.isfinite(loss.item()):
        raise UserError(f"the loss of the detector is {loss.item()}", "Lower --detect.rate.")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _placed(images: Tensor, detector: Detector) -> Tensor:
    device = next(detector.parameters()).device
    return images.to(device, memory_format=torch.channels_last)
