"""All parameters of an image encoder and a new classifier, trained on some labels, stopped where validation is best."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.core.randomness import random_generator
from lingula.core.types import RowNumbers
from lingula.data.store import Store
from lingula.evaluation.arrays import ImageScores
from lingula.evaluation.cohort import targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Trainable
from lingula.evaluation.metrics import auroc
from lingula.methods.supervised import masked_cross_entropy

HEAD_FACTOR = 10
"""The classifier starts from zero, so it learns this many times as fast as the encoder."""
WEIGHT_DECAY = 0.01
WARM_UP = 0.1
"""Share of the steps over which the learning rate rises; it falls along a cosine after them."""
AT_ONCE = 256
"""Images scored at once."""


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned classifier.

    Args:
        network: Images to logits, in evaluation mode, with the weights of the best validation.
        step: The step of that validation.
        quality: Macro AUROC there; NaN where no finding has both classes on validation.
    """

    network: nn.Module
    step: int
    quality: float


def fine_tune(
    trainable: Trainable,
    store: Store,
    findings: list[str],
    config: EvaluateConfig,
    train: RowNumbers,
    val: RowNumbers,
    seed: int,
) -> Tuned:
    """Train on some rows, keep the weights of the best validation on others.

    Args:
        trainable: A copy of the encoder; its weights change.
        store: The images.
        findings: What is classified.
        config: Steps, batch, learning rate, patience.
        train: Rows to learn from.
        val: Rows to choose the step by.
        seed: Decides order and augmentation.

    Raises:
        UserError: There are fewer than two images to learn from, or a loss is not finite.
    """
    if len(train) < 2:
        raise UserError(f"fine-tuning on {len(train)} image is not possible", "Give a larger --fraction.")
    classifier = nn.Linear(trainable.dimension, len(findings))
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    network = nn.Sequential(trainable.network, classifier)
    rates = config.fine_tune_rate, config.fine_tune_rate * HEAD_FACTOR
    groups = [{"params": layer.parameters(), "lr": rate} for layer, rate in zip(network, rates, strict=True)]
    optimiser = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share(step, config.fine_tune_steps))
    truth = targets(store, val, findings, config.against)
    best, best_weights, waited = Tuned(network, 0, -math.inf), copy.deepcopy(network.state_dict()), 0
    batches = _batches(trainable, store, findings, config, train, seed)
    with ProgressBar("fine-tuning", config.fine_tune_steps) as bar, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(1, config.fine_tune_steps + 1):
            _descend(network.train(), optimiser, *next(batches))
            schedule.step()
            bar.advance()
            if step % config.fine_tune_every and step != config.fine_tune_steps:
                continue
            known = _macro(scores_of(network, trainable, store, val), truth)
            bar.note(f"validation AUROC {known:.3f}")
            waited += 1
            if not known <= best.quality:
                best, waited = Tuned(network, step, known), 0
                best_weights = copy.deepcopy(network.state_dict())
            if waited >= config.patience:
                break
    network.load_state_dict(best_weights)
    return Tuned(network.eval(), best.step, best.quality)


def scores_of(network: nn.Module, trainable: Trainable, store: Store, rows: RowNumbers) -> ImageScores:
    """Return logits `images findings`, without augmentation, in evaluation mode."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), AT_ONCE):
            pixels = [store.pixels(int(row)) for row in rows[start : start + AT_ONCE]]
            parts.append(network(_placed(trainable.transform.evaluate(pixels), network)).float().cpu().numpy())
    scores: ImageScores = np.concatenate(parts)
    return scores


def _batches(
    trainable: Trainable, store: Store, findings: list[str], config: EvaluateConfig, rows: RowNumbers, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented images and labels for ever, every image once per epoch; an incomplete last batch is dropped."""
    size = min(config.fine_tune_batch, len(rows))
    labels = dict(zip(rows.tolist(), targets(store, rows, findings, config.against), strict=True))
    ids, epoch = store.column("row_id"), 0
    while True:
        order = random_generator("fine-tune", seed, epoch).permutation(rows)
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size].tolist()
            keys = [(seed, epoch, str(ids[row])) for row in chosen]
            images = trainable.transform.train([store.pixels(row) for row in chosen], keys)
            yield images, torch.from_numpy(np.stack([labels[row] for row in chosen])).float()
        epoch += 1


def _descend(network: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    loss = masked_cross_entropy(network(_placed(images, network)), labels.to(_device(network)))
    if not math.isfinite(loss.item()):
        raise UserError(f"the loss of fine-tuning is {loss.item()}", "Lower --fine-tune-rate.")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _placed(images: Tensor, network: nn.Module) -> Tensor:
    return images.to(_device(network), memory_format=torch.channels_last)


def _macro(scores: ImageScores, truth: ImageScores) -> float:
    """Mean AUROC over the findings with both classes; NaN where none has."""
    values = np.array([auroc(scores[:, place], truth[:, place]) for place in range(truth.shape[1])])
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))


def _share(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine to zero."""
    rise = max(round(WARM_UP * steps), 1)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1))) / 2
