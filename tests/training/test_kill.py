"""Kill -9 and whole-job signals against the trainer, in forked processes; then go on and compare SHA-256 of the weights."""

from __future__ import annotations

import multiprocessing
import os
import random
import select
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lingula.core import checkpoint
from lingula.core.checkpoint import Checkpoints
from lingula.core.files import sha256_of_file
from lingula.training.logbook import read_metrics
from lingula.training.loop import Trainer, Validation

FORK = multiprocessing.get_context("fork")
ACCUMULATED = {"micro_batch_size": 4}
OFTEN = {"checkpoint_every": 2, "log_every": 1}


@pytest.fixture
def make(make_trainer: Callable[..., Trainer], make_loader: Callable[..., Any]) -> Callable[..., Trainer]:
    """Make a trainer with two loading processes, accumulation, validation and a checkpoint every second step."""
    batch = make_loader().batch(40).batch

    def make(folder: Path, **options: Any) -> Trainer:
        validation = Validation(batches=[lambda: batch])
        return make_trainer(folder, workers=2, optimisation=ACCUMULATED, runtime=OFTEN, validation=validation, **options)

    return make


@pytest.fixture
def straight(make: Callable[..., Trainer], tmp_path: Path) -> Trainer:
    trainer = make(tmp_path / "straight")
    trainer.run()
    return trainer


def in_a_fork(work: Callable[[], None]) -> int | None:
    """Run something in a forked process; return its exit code, negative for a signal.

    Not by `join`: it would wait for the loading processes too, which see only after five seconds that they are orphans.
    """
    process = FORK.Process(target=work)
    process.start()
    while process.exitcode is None:
        time.sleep(0.01)
    return process.exitcode


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def weights_hash(trainer: Trainer) -> str:
    return sha256_of_file(trainer.checkpoints.path(12) / "weights.safetensors")


def go_on(make: Callable[..., Trainer], make_method: Callable[..., Any], folder: Path) -> Trainer:
    """Do what --resume does, with a method that was initialised otherwise; without a checkpoint, what the command does anew."""
    trainer = make(folder, method=make_method(seed=77))
    steps = trainer.checkpoints.steps()
    if steps:
        trainer.restore(steps[-1])
    else:
        shutil.rmtree(folder)
        trainer = make(folder)
    trainer.run()
    return trainer


def assert_same(resumed: Trainer, straight: Trainer) -> None:
    assert weights_hash(resumed) == weights_hash(straight)
    assert resumed.checkpoints.best() == straight.checkpoints.best()
    assert not list(resumed.checkpoints.folder.glob(".*"))
    losses = [{e["step"]: e["loss"] for e in read_metrics(trainer.run_folder) if "loss" in e} for trainer in (resumed, straight)]
    assert losses[0].keys() == losses[1].keys()
    assert losses[0] == losses[1]


def test_killed_in_the_middle_of_a_step(
    make: Callable[..., Trainer], make_method: Callable[..., Any], straight: Trainer, tmp_path: Path
) -> None:
    trainer = make(tmp_path / "run")
    losses = trainer.method.losses

    def die_in_step_8(*arguments: Any) -> Any:
        if trainer.done == 7:
            die()
        return losses(*arguments)

    trainer.method.losses = die_in_step_8
    assert in_a_fork(trainer.run) == -signal.SIGKILL
    assert trainer.checkpoints.steps()[-1] == 6
    assert_same(go_on(make, make_method, tmp_path / "run"), straight)


def test_loaders_end_with_a_training_that_is_killed(
    make: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orphan would keep a pipe or a cluster job open for ever.

    torch's own watch is blind where the training is killed while the loader starts; here it is blind always.
    """
    monkeypatch.setattr("torch.utils.data._utils.worker.ManagerWatchdog.is_alive", lambda self: True)
    trainer = make(tmp_path / "run")
    reader, writer = os.pipe()

    def work() -> None:
        batches = trainer.loader.batches(0, 12)
        next(batches)
        die()

    process = FORK.Process(target=work)
    process.start()
    os.close(writer)
    ended, _, _ = select.select([reader], [], [], 30)
    os.close(reader)
    assert ended, "the pipe ends when the last process that has inherited it is gone"


@pytest.mark.parametrize("moment", ["weights", "state", "best"])
def test_killed_while_a_checkpoint_is_written(
    make: Callable[..., Trainer],
    make_method: Callable[..., Any],
    straight: Trainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """The half of a file is on disk; or the checkpoint is whole, but not yet named the best."""
    trainer = make(tmp_path / "run")

    def half(content: Any, path: Path, *rest: Any) -> None:
        if trainer.done == 4:
            path.write_bytes(b"x" * 1000)
            die()
        return whole(content, path, *rest)

    where, name = {"weights": (checkpoint, "save_file"), "state": (torch, "save"), "best": (Checkpoints, "mark_best")}[moment]
    whole = getattr(where, name)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, (lambda *_: die()) if moment == "best" else half)
        assert in_a_fork(trainer.run) == -signal.SIGKILL
    assert trainer.checkpoints.steps()[-1] == (4 if moment == "best" else 2)
    assert bool(list(trainer.checkpoints.folder.glob(".step-000004.*"))) == (moment != "best")
    assert_same(go_on(make, make_method, tmp_path / "run"), straight)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_job_leaves_a_resumable_checkpoint(
    make: Callable[..., Trainer], make_method: Callable[..., Any], straight: Trainer, tmp_path: Path, number: int
) -> None:
    """Ctrl-C in a terminal and SLURM signal the loading processes too."""
    trainer = make(tmp_path / "run")
    losses = trainer.method.losses

    def signal_the_job(*arguments: Any) -> Any:
        if trainer.done == 6:
            os.killpg(0, number)
            time.sleep(0.3)
        return losses(*arguments)

    def work() -> None:
        os.setsid()
        trainer.method.losses = signal_the_job
        try:
            trainer.run()
        except KeyboardInterrupt:
            os._exit(130)

    assert in_a_fork(work) == 130
    assert trainer.checkpoints.steps()[-1] == 7
    assert_same(go_on(make, make_method, tmp_path / "run"), straight)


def test_a_loader_that_is_killed_is_an_error_the_user_can_mend(make: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = make(tmp_path / "run")

    def kill_a_loader(method: object, step: int) -> dict[str, float]:
        multiprocessing.active_children()[0].kill()
        time.sleep(0.3)
        return {}

    trainer.validation = Validation(validators=[kill_a_loader])
    with pytest.raises(checkpoint.UserError, match=r"a process that loads images died .*--resume"):
        trainer.run()


@pytest.mark.soak
@pytest.mark.parametrize("number", range(36))
def test_killed_at_random(
    make: Callable[..., Trainer], make_method: Callable[..., Any], straight: Trainer, tmp_path: Path, number: int
) -> None:
    """Two of three at a random moment; the third when a random one of the checkpoints is being written."""
    draw = random.Random(number)
    began = time.perf_counter()
    make(tmp_path / "timed").run()
    duration = time.perf_counter() - began
    process = FORK.Process(target=make(tmp_path / "run").run)
    process.start()
    if number % 3:
        time.sleep(draw.uniform(0.02, duration))
    else:
        watch_for_a_write(tmp_path / "run" / "checkpoints", 2 * draw.randrange(7), process)
    process.kill()
    while process.exitcode is None:
        time.sleep(0.01)
    print(f"killed with checkpoints {sorted(path.name for path in (tmp_path / 'run' / 'checkpoints').glob('*step-*'))}")
    assert_same(go_on(make, make_method, tmp_path / "run"), straight)


def watch_for_a_write(folder: Path, step: int, process: Any) -> None:
    """Wait, without sleeping, until the temporary folder of a step's checkpoint is there."""
    while process.is_alive() and not list(folder.glob(f".step-{step:06d}.*.partial")):
        pass
