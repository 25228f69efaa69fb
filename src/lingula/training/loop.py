"""The training loop: read `Trainer.run` and then the short methods in the order in which it calls them."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lingula.core.batch import Batch
from lingula.core.checkpoint import WEIGHTS, Checkpoints, load_weights
from lingula.core.distributed import World, anyone, wait_for_all
from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.core.randomness import random_key
from lingula.data.loader import StepBatch, TrainingLoader
from lingula.methods.base import Losses, Method
from lingula.training.config import OptimisationConfig, RuntimeConfig
from lingula.training.interruption import StopRequest
from lingula.training.logbook import Logbook
from lingula.training.optimisation import build_optimiser, learning_rate, set_learning_rate
from lingula.training.run import CHECKPOINTS
from lingula.training.step import GlobalLosses

Validator = Callable[[Method, int], Mapping[str, float]]
"""Measures a method after a step and returns named numbers for the logbook."""

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Validation:
    """What is looked at between training steps.

    Args:
        batches: Makes the validation batches, always the same; the mean of their losses chooses the best checkpoint.
        validators: Further measurements, handed in from above.
    """

    batches: Sequence[Callable[[], Batch]] = ()
    validators: Sequence[Validator] = field(default_factory=tuple)


class Trainer:
    """Trains a method on a loader's batches and leaves logbook and checkpoints in the run folder.

    Args:
        method: Anything that fulfils the contract of `Method`, on its device.
        loader: This process's batches.
        steps: Optimiser steps in all.
        optimisation: Optimiser, learning rate, clipping, micro-batches.
        runtime: Precision, intervals, seed.
        run: The run's folder.
        device: Where the method is.
        world: This process's place among all.
        validation: What is measured in between.
    """

    def __init__(
        self,
        method: Method,
        loader: TrainingLoader,
        steps: int,
        optimisation: OptimisationConfig,
        runtime: RuntimeConfig,
        run: Path,
        device: torch.device,
        world: World | None = None,
        validation: Validation | None = None,
    ) -> None:
        self.method = method.to(device).to(memory_format=torch.channels_last)
        self.loader, self.steps, self.optimisation, self.runtime = loader, steps, optimisation, runtime
        self.run_folder, self.device, self.world = run, device, world or World()
        self.validation = validation or Validation()
        self.checkpoints = Checkpoints(run / CHECKPOINTS)
        self.optimiser = build_optimiser(method, optimisation)
        self.scaler = torch.amp.GradScaler(device.type, enabled=runtime.precision == "fp16")
        self.global_losses: nn.Module = GlobalLosses(self.method, optimisation.micro_batch_size)
        if self.world.size > 1:
            trains_text = loader.build.text is not None and loader.build.text.tokenise is not None
            self.global_losses = DistributedDataParallel(self.global_losses, find_unused_parameters=trains_text)
        self.done = 0
        self.best_loss = math.inf

    def run(self) -> None:
        """Train up to the last step.

        Raises:
            UserError: The loss is not finite; the studies of the batch are named, and the last checkpoint stays.
            KeyboardInterrupt: Ctrl-C or SIGTERM; a checkpoint to go on from has been written.
        """
        self.method.train()
        self._save()
        window = _Window()
        with (
            StopRequest() as stop,
            closing(self.loader.batches(self.done, self.steps)) as batches,
            Logbook(self.run_folder, self.done, hidden=not self.world.is_main) as log,
            ProgressBar("training", self.steps, start=self.done, hidden=not self.world.is_main) as bar,
        ):
            while self.done < self.steps:
                item = window.wait_for(batches)
                losses, norm, rate = self._step(item)
                self.done += 1
                window.add(item, losses, norm)
                if self._due(self.runtime.log_every):
                    values = window.means() | {"epoch": item.epoch, "learning_rate": rate}
                    window = _Window()
                    log.write(self.done, values)
                    bar.note(f"loss {values['loss']:.3f}, {values['images_per_second']:.0f} images/s")
                if self._due(self.runtime.validate_every):
                    with window.pause():
                        log.write(self.done, self._validate())
                stopping = anyone(stop.requested, self.device)
                if stopping or self._due(self.runtime.checkpoint_every):
                    self._save()
                bar.advance()
                if stopping:
                    break
        if self.done < self.steps:
            where = f"stopped after step {self.done} of {self.steps}, which is saved in {self.checkpoints.path(self.done)}"
            print(f"{where}; give the same command with --resume to go on", file=sys.stderr)
            raise KeyboardInterrupt

    def _due(self, every: int) -> bool:
        return self.done % every == 0 or self.done == self.steps

    def _step(self, item: StepBatch) -> tuple[Losses, Tensor, float]:
        """Forward, backward, clip, update; return the losses, the gradient's norm and the learning rate."""
        torch.manual_seed(random_key(self.runtime.seed, item.step, self.world.rank, "step"))
        rate = learning_rate(item.step, self.steps, self.optimisation)
        set_learning_rate(self.optimiser, rate)
        with self._autocast():
            losses: Losses = self.global_losses(self._on_device(item.batch), item.study_ids)
        self._check(losses.total, "loss", item)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.method.parameters(), self.optimisation.clip_norm or math.inf)
        if not self.scaler.is_enabled():
            self._check(norm, "gradient", item)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return losses, norm, rate

    def _check(self, value: Tensor, what: str, item: StepBatch) -> None:
        """Stop before a number that is not finite reaches the weights."""
        if math.isfinite(value.item()):
            return
        studies = ", ".join(item.study_ids[:8]) + (f" and {len(item.study_ids) - 8} more" if len(item.study_ids) > 8 else "")
        problem = f"the {what} of step {item.step + 1} is {value.item()}; its studies: {studies}"
        remedy = "Lower the learning rate or use --runtime.precision fp32"
        if steps := self.checkpoints.steps():
            remedy += f"; the checkpoint of step {steps[-1]} is intact"
        raise UserError(problem, f"{remedy}.")

    def _validate(self) -> dict[str, float]:
        """Measure on the main process while the others wait; a lowest loss so far is kept as a checkpoint."""
        measured: dict[str, float] = {}
        if self.world.is_main:
            self.method.eval()
            with torch.no_grad():
                measured = self._validation_losses()
                for validator in self.validation.validators:
                    measured |= validator(self.method, self.done)
            self.method.train()
            loss = measured.get("validation/loss", math.inf)
            if loss < self.best_loss:
                self.best_loss = loss
                self._save()
                self.checkpoints.mark_best(self.done, loss)
        wait_for_all()
        return measured

    def _validation_losses(self) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for make in self.validation.batches:
            batch = self._on_device(make())
            with self._autocast():
                losses = self.method.losses(self.method.encode(batch), batch.without_pixels())
            for name, value in _named(losses).items():
                sums[f"validation/{name}"] += float(value) / len(self.validation.batches)
        return dict(sums)

    def _save(self) -> None:
        """Write a checkpoint of the steps done so far, unless it is there already."""
        if self.world.is_main:
            state = {"optimiser": self.optimiser.state_dict(), "scaler": self.scaler.state_dict()}
            summary = {"steps": self.steps, "seed": self.runtime.seed}
            self.checkpoints.save(self.done, self.method.state_dict(), state, summary)
            self.checkpoints.prune(self.runtime.keep)

    def restore(self, step: int) -> None:
        """Go back to a checkpoint: weights, optimiser, scaler, step.

        The step is all the state that sampler, schedule and random numbers have: they are keyed by seed and step.
        """
        if self.world.is_main:
            self.checkpoints.remove_leftovers()
        state: dict[str, Any] = self.checkpoints.load_state(step, self.device)
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        load_weights(self.checkpoints.path(step) / WEIGHTS, self.method)
        best = self.checkpoints.best()
        self.best_loss = best[1] if best else math.inf
        self.done = step

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _DTYPES[self.runtime.precision]
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.runtime.precision != "fp32")

    def _on_device(self, batch: Batch) -> Batch:
        batch = batch.to(self.device)
        if batch.images is None:
            return batch
        return replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))


class _Window:
    """Numbers gathered between two entries of the logbook."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._steps, self._images, self._waited = 0, 0, 0.0
        self._begun = time.perf_counter()

    def wait_for(self, batches: Iterator[StepBatch]) -> StepBatch:
        """Take the next batch and remember how long it took to come."""
        asked = time.perf_counter()
        item: StepBatch = next(batches)
        self._waited += time.perf_counter() - asked
        return item

    def add(self, item: StepBatch, losses: Losses, norm: Tensor) -> None:
        """Count a step."""
        for name, value in [*_named(losses).items(), ("gradient_norm", norm)]:
            self._sums[name] = self._sums[name] + (value.detach() if isinstance(value, Tensor) else value)
        self._steps += 1
        self._images += len(item.study_ids)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave out the time that something other than training takes."""
        began = time.perf_counter()
        yield
        self._begun += time.perf_counter() - began

    def means(self) -> dict[str, float]:
        """Return means over the steps, images per second, and the share of time spent waiting for the loader."""
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        elapsed = time.perf_counter() - self._begun
        return means | {"images_per_second": self._images / elapsed, "loader_wait": self._waited / elapsed}


def _named(losses: Losses) -> dict[str, Tensor | float]:
    """Name everything that is logged of a step's losses."""
    terms = {f"loss/{name}": value for name, value in losses.terms.items()}
    return {"loss": losses.total, **terms, **losses.logged}
