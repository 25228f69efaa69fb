"""The optimiser and the learning rate of each step."""

from __future__ import annotations

import math

import torch
from torch import nn

from lingula.training.config import OptimisationConfig


def build_optimiser(module: nn.Module, config: OptimisationConfig) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter 2019) over what can be trained.

    Norms, biases and temperatures have fewer than two axes; they are decayed only where `decay_vectors` says so.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim == 1], "weight_decay": config.weight_decay * config.decay_vectors},
        {"params": [p for p in trainable if p.ndim == 0], "weight_decay": config.weight_decay * config.decay_vectors},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def learning_rate(step: int, steps: int, config: OptimisationConfig) -> float:
    """Return the learning rate of a step.

    Linear warm-up to the peak η, then with t steps after it and the minimum μ: constant η; cosine
    μ + (η − μ)(1 + cos(π t / T)) / 2 over the T steps that remain; or warm restarts, the same with t modulo the period
    (Loshchilov and Hutter 2017, arXiv 1608.03983; equal to torch's CosineAnnealingWarmRestarts with T_mult = 1).

    Args:
        step: Number of the step, from 0.
        steps: Steps in all.
        config: Peak, minimum, warm-up and schedule.
    """
    warmup = _in_steps(config.warmup, steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    done, length = step - warmup, max(steps - warmup, 1)
    if config.schedule == "warm-restarts":
        length = max(_in_steps(config.restart_period, steps), 1)
        done %= length
    span = config.learning_rate - config.minimum_learning_rate
    return config.minimum_learning_rate + span * (1 + math.cos(math.pi * done / length)) / 2


def _in_steps(amount: float, steps: int) -> int:
    """Read a share of all steps (below 1) or a number of steps."""
    return int(amount * steps) if amount < 1 else int(amount)
