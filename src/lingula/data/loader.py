"""From rows of a store to batches, in the background, the same whatever the number of workers."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lingula.core.batch import Batch, Tokens
from lingula.core.distributed import World
from lingula.core.errors import UserError
from lingula.core.randomness import random_generator, random_key
from lingula.core.types import Images, RowNumbers, TextFeatures, Volumes
from lingula.data.samples import BatchOrder
from lingula.data.text.views import TextView, choose_view

if TYPE_CHECKING:
    from lingula.data.report_plan import ReportPlan
    from lingula.data.store_table import StoreTable

AHEAD = 3
"""Batches that are kept ready."""


@dataclass(frozen=True)
class TextPlan:
    """Which texts the samples get, and in which form.

    Args:
        view: The whole report, a sentence, or either; where `reports` varies reports, that counts instead.
        sections: Sections of the report in use; None: all.
        lookup: Texts to their cached features, where the text encoder is frozen.
        tokenise: Texts to tokens, where it is trained.
        reports: What a method reads of reports beside that; None: nothing.
    """

    view: TextView
    sections: Sequence[str] | None = None
    lookup: Callable[[list[str]], TextFeatures] | None = None
    tokenise: Callable[[list[str]], Tokens] | None = None
    reports: ReportPlan | None = None

    def draw(self, store: StoreTable, row: int, key: tuple[int | str, ...]) -> str:
        """Draw the text of a sample."""
        if self.reports is not None and self.reports.variation is not None:
            return self.reports.varied(store, row, self.sections, key)
        return choose_view(store.text(row, self.sections), self.view, random_generator(*key, "text"))


class SampleTransform(Protocol):
    """From stored images to what a model sees: `ImageTransform` for radiographs, `VolumeCrop` for CT volumes."""

    def load(self, store: Any, rows: RowNumbers, keys: Sequence[tuple[int | str, ...]] | None) -> Images | Volumes:
        """Read the images of some rows: varied by what the keys say, for training, or as evaluation sees them (None)."""
        ...


@dataclass(frozen=True)
class BatchBuilder:
    """Makes a batch of any rows; what is random in it depends on (seed, epoch, row) alone.

    Args:
        store: Where the samples come from.
        transform: From what that kind of store holds to what a model sees.
        seed: Keys augmentation and text views.
        text: How texts are given; None: no texts.
        findings: Which labels are given; none: no labels.
        augment: Whether images are augmented (training) or not (validation).
    """

    store: StoreTable
    transform: SampleTransform
    seed: int
    text: TextPlan | None = None
    findings: Sequence[str] = ()
    augment: bool = True

    def __call__(self, rows: RowNumbers, epoch: int) -> Batch:
        """Build the batch of some rows."""
        row_ids, study_ids = self.store.column("row_id"), self.store.column("study_id")
        keys: list[tuple[int | str, ...]] = [(self.seed, epoch, row_ids[row]) for row in rows]
        images = self.transform.load(self.store, rows, keys if self.augment else None)
        drawn = [random_key(*key, "method") for key in keys]
        batch = Batch(study_ids=[study_ids[row] for row in rows], images=images, keys=drawn)
        if self.findings:
            batch = replace(batch, labels=torch.from_numpy(self.store.labels(rows, self.findings)))
        return batch if self.text is None else self._with_text(batch, rows, keys, self.text)

    def _with_text(self, batch: Batch, rows: RowNumbers, keys: list[tuple[int | str, ...]], plan: TextPlan) -> Batch:
        texts = [plan.draw(self.store, int(row), key) for row, key in zip(rows, keys, strict=True)]
        batch = replace(
            batch,
            texts=texts,
            groups=torch.tensor([random_key(text) for text in texts]),
            text_features=plan.lookup(texts) if plan.lookup else None,
            tokens=plan.tokenise(texts) if plan.tokenise else None,
        )
        return batch if plan.reports is None else plan.reports.fill(batch, self.store, rows, plan.sections, keys)


@dataclass(frozen=True)
class StepBatch:
    """What one process gets for one step.

    Args:
        step: Number of the step, from 0.
        epoch: Number of the pass, from 0.
        batch: This process's samples.
        study_ids: Studies of the whole batch, over all processes in the order of ranks.
    """

    step: int
    epoch: int
    batch: Batch
    study_ids: list[str]

    def pin_memory(self) -> StepBatch:
        """Copy the tensors to memory from which a GPU can fetch them without waiting."""
        values = {field.name: getattr(self.batch, field.name) for field in fields(Batch)}
        pinned: dict[str, Any] = {name: value.pin_memory() for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, batch=replace(self.batch, **pinned))


class TrainingLoader:
    """The batches of a training, step by step; starting at any step gives what an unbroken run would have had there.

    Args:
        build: Makes a batch of rows.
        order: Which rows a step gets.
        world: Which share of them this process loads.
        workers: Processes that load; 0: a thread beside the training.
        pin: Whether a GPU will fetch the batches.
    """

    def __init__(
        self, build: BatchBuilder, order: BatchOrder, world: World | None = None, workers: int = 0, pin: bool = False
    ) -> None:
        self.build, self.order, self.world, self.workers, self.pin = build, order, world or World(), workers, pin

    def batch(self, step: int) -> StepBatch:
        """Load one step's batch now.

        Process r of R takes rows r, r + R, ... of it: parts of all processes' shares together are then the parts that one
        process with R times the micro-batch would cut.
        """
        rows, epoch = self.order.rows(step), self.order.epoch(step)
        shares = [rows[rank :: self.world.size] for rank in range(self.world.size)]
        study_ids = self.build.store.column("study_id")
        batch = self.build(shares[self.world.rank], epoch)
        return StepBatch(step, epoch, batch, [study_ids[row] for share in shares for row in share])

    def batches(self, first_step: int, last_step: int) -> Generator[StepBatch, None, None]:
        """Yield the batches of the steps from `first_step` up to, not including, `last_step`."""
        steps = range(first_step, last_step)
        if self.workers == 0:
            yield from _in_background(lambda step: self._pinned(self.batch(step)), steps)
        else:
            yield from DataLoader(
                _Steps(self),
                batch_size=None,
                sampler=steps,
                num_workers=self.workers,
                pin_memory=self.pin,
                worker_init_fn=partial(_start_worker, os.getpid()),
            )

    def _pinned(self, item: StepBatch) -> StepBatch:
        return item.pin_memory() if self.pin else item


@contextmanager
def dead_workers_explained() -> Iterator[None]:
    """Turn torch's error about a loading process that died, which it raises wherever the training is, into one to mend.

    Raises:
        UserError: A process that loads images was killed, perhaps for want of memory.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        problem = f"a process that loads images died ({str(error).splitlines()[0]})"
        raise UserError(problem, "Go on with --resume, perhaps with fewer --runtime.workers (memory).") from error


class _Steps(Dataset[StepBatch]):
    def __init__(self, loader: TrainingLoader) -> None:
        self._loader = loader

    def __getitem__(self, step: int) -> StepBatch:
        return self._loader.batch(step)


def _start_worker(parent: int, number: int) -> None:
    """Leave signals to the training, which Ctrl-C and SLURM reach too, and end with it even when it is killed.

    torch watches the parent as well, but for ever where the parent was killed while this process was starting.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), name="watch", daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _in_background(load: Callable[[int], StepBatch], steps: range) -> Generator[StepBatch, None, None]:
    """Load in a thread, a few batches ahead; an error there is raised here."""
    ready: queue.Queue[StepBatch | BaseException] = queue.Queue(maxsize=AHEAD)
    stop, started = threading.Event(), threading.Event()

    def work() -> None:
        _use_one_thread()
        started.set()
        try:
            for step in steps:
                _put(ready, load(step), stop)
                if stop.is_set():
                    return
        except BaseException as error:
            _put(ready, error, stop)

    threads = torch.get_num_threads()
    thread = threading.Thread(target=work, name="loader", daemon=True)
    thread.start()
    started.wait()
    torch.set_num_threads(threads)
    try:
        for _ in steps:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


def _use_one_thread() -> None:
    """Let this thread compute alone: two teams on the same cores wait for each other.

    The number is kept per thread once it has been asked for; the caller resets the default for new threads.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)


def _put(ready: queue.Queue[StepBatch | BaseException], item: StepBatch | BaseException, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            return ready.put(item, timeout=0.1)
        except queue.Full:
            continue
