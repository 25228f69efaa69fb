"""The training loop that every objective of the small language model shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lingula.core.progress import ProgressBar

Note = Callable[[int, Mapping[str, float]], None]
"""Told the steps done so far and what was measured in the last one."""


def descend(
    title: str,
    loss_of_next: Callable[[], Tensor],
    parameters: Sequence[nn.Parameter],
    learning_rate: float,
    steps: int,
    measured: str,
    progress: bool,
    note: Note,
    clip_norm: float | None = 1.0,
) -> None:
    """Lower a loss by AdamW, with linear warm-up over 10 % of the steps and linear decay to zero.

    Args:
        title: What the progress bar says.
        loss_of_next: Draws the next batch and returns its loss.
        parameters: What is trained.
        learning_rate: Peak learning rate.
        steps: How many.
        measured: Name of the loss in what `note` is told.
        progress: Show a progress bar.
        note: Told the loss of every step.
        clip_norm: Longest gradient; None: any.
    """
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _warm_up_and_decay(step, steps))
    with ProgressBar(title, steps, hidden=not progress) as bar:
        for step in range(steps):
            loss = loss_of_next()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimiser.step()
            schedule.step()
            bar.advance()
            bar.note(f"loss {loss.item():.2f}")
            note(step + 1, {measured: loss.item()})


def _warm_up_and_decay(step: int, steps: int) -> float:
    """Return the share of the peak learning rate at a step."""
    warm_up = max(steps // 10, 1)
    return min((step + 1) / warm_up, (steps - step) / max(steps - warm_up, 1))
