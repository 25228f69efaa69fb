"""The training loop: read `Trainer.run` and then the short methods in the order in which it calls them."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lingula.core.batch import Batch
from lingula.core.checkpoint import WEIGHTS, Checkpoints
from lingula.core.distributed import World, anyone
from lingula.core.errors import UserError
from lingula.core.precision import choose_precision
from lingula.core.progress import ProgressBar
from lingula.core.randomness import random_key
from lingula.data.loader import StepBatch, TrainingLoader, dead_workers_explained
from lingula.methods.base import Losses, Method
from lingula.training.config import OptimisationConfig, RuntimeConfig
from lingula.training.finite import MOST_SKIPPED, Scaler, check_finite, not_finite
from lingula.training.grad_cache import encode_in_parts
from lingula.training.interruption import StopRequest
from lingula.training.logbook import Logbook
from lingula.training.memory_layout import images_laid_out, lay_out
from lingula.training.optimisation import build_optimiser, learning_rate, set_learning_rate
from lingula.training.parallel import Spread, clip_gradients, load_optimiser_state, optimiser_state
from lingula.training.run import CHECKPOINTS

Validator = Callable[[Method, int], Mapping[str, float]]
"""Measures a method after a step and returns named numbers for the logbook."""

BEST_BY = "best_by"
"""What is logged of the losses that choose the best checkpoint, where these are not all."""
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Validation:
    """What is looked at between training steps.

    Args:
        batches: Makes the validation batches, always the same; the mean of their losses (of those that the method names, or of
            all) chooses the best checkpoint.
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
        self.method = method.to(device)
        self.precision = choose_precision(runtime.precision, device)
        if runtime.parallel == "ddp":
            lay_out(self.method, self.precision, device)
        self.loader, self.steps, self.optimisation, self.runtime = loader, steps, optimisation, runtime
        self.run_folder, self.device, self.world = run, device, world or World()
        self.validation = validation or Validation()
        self.checkpoints = Checkpoints(run / CHECKPOINTS)
        trains_text = loader.build.text is not None and loader.build.text.tokenise is not None
        self.spread = Spread(self.method, optimisation, runtime.parallel, self.world, trains_text)
        self.optimiser = build_optimiser(self.method, optimisation)
        self.scaler = Scaler(device, enabled=self.precision == "fp16")
        self.done = 0
        self.best: tuple[int, float] | None = None

    def run(self) -> None:
        """Train up to the last step.

        Raises:
            UserError: A loss or gradient is not finite; the studies of the batch are named, and the last checkpoint stays.
            KeyboardInterrupt: Ctrl-C or SIGTERM; a checkpoint to go on from has been written.
        """
        self.method.train()
        self._save()
        window = _Window()
        with (
            dead_workers_explained(),
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
                    values = window.means() | {"epoch": item.epoch, "learning_rate": rate} | self.scaler.logged()
                    window = _Window()
                    log.write(self.done, values)
                    bar.note(_said(values))
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

    def _step(self, item: StepBatch) -> tuple[Losses, Tensor | None, float]:
        """Forward, backward, clip, update; return the losses, the gradient's norm (None: skipped) and the learning rate."""
        torch.manual_seed(random_key(self.runtime.seed, item.step, self.world.rank, "step"))
        rate = learning_rate(item.step, self.steps, self.optimisation)
        set_learning_rate(self.optimiser, rate)
        self.method.at_step(item.step, self.steps)
        with self._autocast():
            losses: Losses = self.spread.losses(self._on_device(item.batch), item.study_ids)
        check_finite(losses.total, "loss", item, self.run_folder, self.checkpoints)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.backward(losses.total, self.optimiser)
        norm = clip_gradients(self.method, self.optimisation.clip_norm or math.inf)
        if not self.scaler.enabled:
            check_finite(norm, "gradient", item, self.run_folder, self.checkpoints)
        updated = self.scaler.step(self.optimiser)
        if self.scaler.in_a_row > MOST_SKIPPED:
            problem = f"the gradients of {self.scaler.in_a_row} steps up to step {item.step + 1} are not finite"
            raise not_finite(problem, item, self.run_folder, self.checkpoints, self.device)
        return losses, norm if updated else None, rate

    def _validate(self) -> dict[str, float]:
        """Measure on the main process while the others wait; a lowest loss so far is kept as a checkpoint."""
        measured: dict[str, float] = {}
        method, better = self.spread.whole(), False
        if self.world.is_main:
            method.eval()
            with torch.no_grad():
                measured = self._validation_losses(method)
                for validator in self.validation.validators:
                    measured |= validator(method, self.done)
            loss = measured.get(f"validation/{BEST_BY}", measured.get("validation/loss", math.inf))
            better = loss < (self.best[1] if self.best else math.inf)
            if better:
                self.best = (self.done, loss)
        self.method.train()
        if anyone(better, self.device):
            self._save()
            if self.world.is_main and self.best:
                self.checkpoints.mark_best(*self.best)
        return measured

    def _validation_losses(self, method: Method) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for make in self.validation.batches:
            batch = self._on_device(make())
            with self._autocast():
                embeddings = encode_in_parts(method, batch, self.optimisation.micro_batch_size)
                losses = method.losses(embeddings, batch.without_pixels())
            measured = _named(losses) | ({} if losses.choice is None else {BEST_BY: losses.choice})
            for name, value in measured.items():
                sums[f"validation/{name}"] += float(value) / len(self.validation.batches)
        return dict(sums)

    def _save(self) -> None:
        """Write a checkpoint of the steps done so far, unless it is there already; every process must come here."""
        weights, state = self.spread.weights(), optimiser_state(self.optimiser)
        if self.world.is_main:
            summary = {"steps": self.steps, "seed": self.runtime.seed, "best": self.best}
            self.checkpoints.save(self.done, weights, {"optimiser": state, "scaler": self.scaler.state_dict()}, summary)
            self.checkpoints.prune(self.runtime.keep)

    def restore(self, step: int) -> None:
        """Go back to a checkpoint: weights, optimiser, scaler, step.

        The step is all the state that sampler, schedule and random numbers have: they are keyed by seed and step.

        Raises:
            UserError: A file of it is broken, of a newer version, or does not fit; the checkpoint before it is named.
        """
        try:
            best = self.checkpoints.summary(step).get("best")
            state = self.checkpoints.load_state(step, self.device)
            if not {"optimiser", "scaler"} <= state.keys() or "scale" not in state["scaler"]:
                raise UserError(f"the training state of step {step} is incomplete")
            self.spread.load_weights(self.checkpoints.path(step) / WEIGHTS)
        except UserError as error:
            earlier = [other for other in self.checkpoints.steps() if other < step]
            way = f"Or remove {self.checkpoints.path(step)}: --resume then goes on from step {earlier[-1]}." if earlier else ""
            raise UserError(error.problem, f"{error.remedy} {way}".strip()) from None
        load_optimiser_state(self.optimiser, state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.best = (int(best[0]), float(best[1])) if best else None
        if self.world.is_main:
            self.checkpoints.remove_leftovers()
            if self.best:
                self.checkpoints.mark_best(*self.best)
        self.done = step

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision], enabled=self.precision != "fp32")

    def _on_device(self, batch: Batch) -> Batch:
        return images_laid_out(batch.to(self.device))


class _Window:
    """Numbers gathered between two entries of the logbook."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._steps, self._images, self._waited = 0, 0, 0.0
        self._begun = time.perf_counter()

    def wait_for(self, batches: Iterator[StepBatch]) -> StepBatch:
        """Take the next batch and remember how long it took to come."""
        asked = time.perf_counter()
        item: StepBatch = next(batches)
        self._waited += time.perf_counter() - asked
        return item

    def add(self, item: StepBatch, losses: Losses, norm: Tensor | None) -> None:
        """Count a step; one that was skipped has no norm."""
        for name, value in [*_named(losses).items(), *([] if norm is None else [("gradient_norm", norm)])]:
            self._sums[name] = self._sums[name] + (value.detach() if isinstance(value, Tensor) else value)
            self._counts[name] += 1
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
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        elapsed = time.perf_counter() - self._begun
        return means | {"images_per_second": self._images / elapsed, "loader_wait": self._waited / elapsed}


def _said(values: Mapping[str, float]) -> str:
    """Write loss, speed, and how the time divides between waiting for data and computing."""
    waiting = f"{values['loader_wait']:.0%} of the time waiting for data"
    return f"loss {values['loss']:.3f}, {values['images_per_second']:.0f} images/s, {waiting}"


def _named(losses: Losses) -> dict[str, Tensor | float]:
    """Name everything that is logged of a step's losses."""
    terms = {f"loss/{name}": value for name, value in losses.terms.items()}
    return {"loss": losses.total, **terms, **losses.logged}
