"""Numbers that are not finite stop a training before they reach the weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lingula.core.checkpoint import STEADIER, Checkpoints
from lingula.core.distributed import gather
from lingula.core.errors import UserError
from lingula.core.files import write_json
from lingula.data.loader import StepBatch

STOPPED = "stopped.json"
"""Written into the run when it stops: step, what was not finite, and every study of the batch."""

MOST_SKIPPED = 20
"""So many steps in a row may fp16 skip while its scale settles (from 65,536 it reaches 0.06); then it is no overflow."""


def check_finite(value: Tensor, what: str, item: StepBatch, run: Path, checkpoints: Checkpoints) -> None:
    """Stop unless a number is finite.

    Args:
        value: The number, the same on every process.
        what: Its name, `loss` or `gradient`.
        item: The batch it comes from.
        run: Where `stopped.json` is written.
        checkpoints: The run's.

    Raises:
        UserError: It is not; the studies, the last checkpoint and what to try are named.
    """
    if not math.isfinite(value.item()):
        raise not_finite(f"the {what} of step {item.step + 1} is {value.item()}", item, run, checkpoints, value.device)


def not_finite(problem: str, item: StepBatch, run: Path, checkpoints: Checkpoints, device: torch.device) -> UserError:
    """Return the error that names the studies, and leave all of them in `stopped.json`; every process must come here.

    The way on is a new run: a resumed one has the same numbers, batches and rates, and so comes to the same end.
    """
    guilty = studies_of_bad_inputs(item, device)
    write_json(run / STOPPED, {"step": item.step + 1, "problem": problem, "bad_inputs": guilty, "study_ids": item.study_ids})
    if guilty:
        return UserError(
            f"{problem}; images or text features that are not finite come from: {_listed(guilty)}",
            f"Prepare the store anew without them. {checkpoints.way_on()}",
        )
    return UserError(f"{problem}; its studies: {_listed(item.study_ids)}", checkpoints.way_on(STEADIER))


def studies_of_bad_inputs(item: StepBatch, device: torch.device) -> list[str]:
    """List the studies, of all processes' samples, whose image or text features are not finite."""
    bad = torch.zeros(len(item.batch), dtype=torch.uint8)
    for values in (item.batch.images, item.batch.text_features):
        if values is not None:
            bad |= ~values.flatten(1).isfinite().all(1).cpu()
    everywhere = gather(bad.to(device)).tolist()
    return [study for study, is_bad in zip(item.study_ids, everywhere, strict=True) if is_bad]


class Scaler:
    """Gradient scaling of fp16 (Micikevicius et al. 2018, arXiv 1710.03740) that counts the steps it skips.

    Args:
        device: Where the training is.
        enabled: Whether the precision is fp16; else nothing is scaled.
    """

    def __init__(self, device: torch.device, enabled: bool) -> None:
        self._scaler = torch.amp.GradScaler(device.type, enabled=enabled)
        self.enabled, self.skipped, self.in_a_row = enabled, 0, 0

    def backward(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """Compute the gradients, free of the scale."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(optimiser)

    def step(self, optimiser: torch.optim.Optimizer) -> bool:
        """Update the weights unless a gradient has overflowed; return whether they were updated."""
        before = self._scaler.get_scale() if self.enabled else 1.0
        self._scaler.step(optimiser)
        self._scaler.update()
        if self.enabled and self._scaler.get_scale() < before:
            self.skipped += 1
            self.in_a_row += 1
            return False
        self.in_a_row = 0
        return True

    def logged(self) -> dict[str, float]:
        """Return what the logbook shall have of it."""
        return {"skipped_steps": self.skipped, "loss_scale": self._scaler.get_scale()} if self.enabled else {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"scale": self._scaler.state_dict(), "skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a checkpoint."""
        self._scaler.load_state_dict(state["scale"])
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]


def _listed(studies: list[str]) -> str:
    return ", ".join(studies[:8]) + (f" and {len(studies) - 8} more (all in {STOPPED})" if len(studies) > 8 else "")
