"""The recipes of docs/how-to/several-hosts.md, run as they stand there on loopback, two agents with one process each."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lingula.core.files import sha256_of_file

SPECIFICATION = importlib.util.spec_from_file_location("pretraining", Path(__file__).with_name("test_pretrain.py"))
pretraining: Any = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(pretraining)
PAGE = Path(__file__).parents[2] / "docs/how-to/several-hosts.md"
STEPS = 24
STAND_INS = {
    "scontrol": 'echo "127.0.0.1"; echo "127.0.0.2"',
    "srun": '"$@" & one=$!; "$@" & two=$!; trap "kill -TERM $one $two" TERM; wait; wait',
}
"""SLURM's commands on one machine: two hosts, and the same command on each of them."""


def recipe(first_word: str) -> str:
    """Return the block of the page that begins with a word."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if block.startswith(first_word)]
    return str(block)


def fitted(block: str, config: Path, run: Path, port: int) -> str:
    """Put this machine in the place of the page's hosts, GPUs, store and run."""
    for said, here in {
        "--nproc-per-node 8": "--nproc-per-node 1",
        " HOST:29500": f" 127.0.0.1:{port}",
        "$HOST:29500": f"$HOST:{port}",
        "--store /data/stores/s": f"--config {config}",
        "/data/runs/r": str(run),
    }.items():
        block = block.replace(said, here)
    return block


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Twenty-four steps with batch norms over both processes, a checkpoint every second step."""
    store = pretraining.make_store(tmp_path / "source", 40, 30)
    runtime = {"log_every": 1, "validate_every": STEPS, "checkpoint_every": 2, "device": "cpu", "workers": 0}
    made = pretraining.recipe_for(store, optimisation={"steps": STEPS, "batch_size": 8}, runtime=runtime)
    made.to_yaml(tmp_path / "config.yaml")
    return tmp_path / "config.yaml"


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """SLURM's variables, and stand-ins for its commands before everything else on the path."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, text in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    slurm = {"SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]"}
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **slurm}


def weights_of(run: Path) -> str:
    return sha256_of_file(run / "checkpoints" / f"step-{STEPS:06d}" / "weights.safetensors")


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_recipes_train_and_a_requeued_job_ends_in_the_same_weights(
    config: Path, tmp_path: Path, port: int, environment: dict[str, str]
) -> None:
    whole, requeued = tmp_path / "whole", tmp_path / "requeued"
    command = fitted(recipe("torchrun"), config, whole, port).split()
    agents = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [agent.wait(600) for agent in agents] == [0, 0]
    job = tmp_path / "job.sh"
    job.write_text(fitted(recipe("#!/bin/bash"), config, requeued, port))
    first = subprocess.Popen(["bash", str(job)], env=environment, start_new_session=True)
    while not list((requeued / "checkpoints").glob("step-0000[01][02468]")):
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, 15)
    first.wait(300)
    assert not (requeued / "checkpoints" / f"step-{STEPS:06d}").exists()
    subprocess.run(["bash", str(job)], env=environment, timeout=600, check=True)
    assert weights_of(requeued) == weights_of(whole)
