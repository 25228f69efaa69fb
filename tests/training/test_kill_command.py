"""The real command killed again and again, alone and as two processes, against one that ran through."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lingula.training.run import Run

SPECIFICATION = importlib.util.spec_from_file_location("pretraining", Path(__file__).with_name("test_pretrain.py"))
pretraining: Any = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(pretraining)
STEPS, KILLS = 60, 6


def start(config: Path, run: Path, *options: str, **variables: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from lingula.cli import main; main()", "pretrain", "clip", "--config", str(config)]
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    return subprocess.Popen([*command, "--run", str(run), *options], env=environment, stderr=subprocess.PIPE, text=True)


def write_config(folder: Path) -> Path:
    """A configuration of 60 steps with two loading processes, accumulation, and a checkpoint every second step."""
    store = pretraining.make_store(folder / "source", 40, 30)
    runtime = {"log_every": 1, "validate_every": 7, "checkpoint_every": 2, "device": "cpu", "workers": 2}
    config = pretraining.recipe_for(store, optimisation={"steps": STEPS, "batch_size": 8, "micro_batch_size": 4}, runtime=runtime)
    config.to_yaml(folder / "config.yaml")
    return folder / "config.yaml"


def steps_of(run: Path) -> int:
    """Return the step of the last whole checkpoint, 0 where there is none."""
    names = sorted(path.name for path in (run / "checkpoints").glob("step-*"))
    return int(names[-1][5:]) if names else 0


def kill_somewhere(process: subprocess.Popen[str], run: Path, draw: random.Random, in_a_write: bool) -> str:
    """Wait for a few checkpoints and a random moment, or for a checkpoint that is being written; kill; say what was there."""
    goal = steps_of(run) + 2 * draw.randrange(1, 4)
    while process.poll() is None and steps_of(run) < goal:
        time.sleep(0.005)
    if in_a_write:
        while process.poll() is None and not list((run / "checkpoints").glob(".step-*.partial")):
            pass
    else:
        time.sleep(draw.uniform(0, 0.3))
    process.kill()
    process.communicate()
    return f"after step {steps_of(run)}, half-written: {len(list((run / 'checkpoints').glob('.step-*.partial')))}"


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_the_command_killed_six_times_gives_the_same_weights(tmp_path: Path) -> None:
    config, draw = write_config(tmp_path), random.Random(0)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(config, whole).wait() == 0
    for number in range(KILLS):
        process = start(config, killed, *(["--resume"] if number else []))
        print(kill_somewhere(process, killed, draw, in_a_write=number % 2 == 1))
        assert process.returncode == -signal.SIGKILL
    last = start(config, killed, "--resume")
    _, said = last.communicate()
    assert last.returncode == 0, said
    assert Run(killed).fingerprint("last") == Run(whole).fingerprint("last")
    assert Run(killed).checkpoints.best() == Run(whole).checkpoints.best()


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_interrupted_by_the_cluster_go_on_exactly(tmp_path: Path, parallel: str) -> None:
    """SIGTERM to one of two processes stops both after the same step."""
    config = write_config(tmp_path)

    def both(run: Path, *options: str) -> list[subprocess.Popen[str]]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        shared = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        options = (*options, "--runtime.parallel", parallel)
        return [start(config, run, *options, RANK=rank, LOCAL_RANK=rank, **shared) for rank in (0, 1)]

    assert [process.wait() for process in both(tmp_path / "whole")] == [0, 0]
    processes = both(tmp_path / "stopped")
    while steps_of(tmp_path / "stopped") < 4:
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [130, 130]
    assert "give the same command with --resume to go on" in said[0]
    assert 4 <= steps_of(tmp_path / "stopped") < STEPS
    assert [process.wait() for process in both(tmp_path / "stopped", "--resume")] == [0, 0]
    assert Run(tmp_path / "stopped").fingerprint("last") == Run(tmp_path / "whole").fingerprint("last")
