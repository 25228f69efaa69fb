"""How a segmenter of images or volumes is trained: step by step, stopped where validation is best."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.evaluation.segment_config import SegmentConfig
from lingula.evaluation.segmentation_scores import PixelCounts

Network = TypeVar("Network", bound=nn.Module)
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class TrainedSegmenter(Generic[Network]):
    """A segmenter with the weights of its best validation.

    Args:
        network: Images or volumes to logits, in evaluation mode.
        step: The step of that validation.
        quality: What was compared there, the higher the better; NaN where validation has nothing to find.
        on_val: The pixels or voxels it predicts on validation.
    """

    network: Network
    step: int
    quality: float
    on_val: PixelCounts


def train_to_best(
    network: Network,
    batches: Iterator[Batch],
    loss: Callable[[Batch], Tensor],
    validate: Callable[[], tuple[float, PixelCounts]],
    config: SegmentConfig,
    bar: ProgressBar,
    compared: str = "dice",
) -> TrainedSegmenter[Network]:
    """Take steps of AdamW, keep the weights of the best validation, stop when enough passed without a better one.

    Args:
        network: Its trainable weights change.
        batches: What is learned from, for ever.
        loss: Of one batch, with gradient.
        validate: Quality, the higher the better, and the pixels it comes from.
        config: Steps, learning rate, weight decay, patience.
        bar: Advanced by one at each step.
        compared: What the quality is called in the bar.

    Raises:
        UserError: A loss is not finite.
    """
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=config.rate, weight_decay=config.weight_decay)
    best: TrainedSegmenter[Network] | None = None
    best_weights, waited = network.state_dict(), 0
    for step in range(1, config.steps + 1):
        network.train()
        _descend(optimiser, loss(next(batches)))
        bar.advance()
        if step % config.every and step != config.steps:
            continue
        quality, counts = validate()
        bar.note(f"validation {compared} {abs(quality):.3f}")
        waited += 1
        if best is None or not quality <= best.quality:
            best, waited = TrainedSegmenter(network, step, quality, counts), 0
            best_weights = copy.deepcopy(network.state_dict())
        if waited >= config.patience:
            break
    assert best is not None, "the last step is validated"
    network.load_state_dict(best_weights)
    network.eval()
    return best


def mean_dice(counts: PixelCounts) -> float:
    """Return the best pooled Dice over thresholds, mean over the findings that are there; NaN where none is."""
    dice = counts.best()[1]
    return float("nan") if np.isnan(dice).all() else float(np.nanmean(dice))


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    if not math.isfinite(loss.item()):
        raise UserError(f"the loss of segmentation is {loss.item()}", "Lower --segment.rate.")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
