from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lingula.core.distributed import World, anyone, choose_device, gather_with_gradient, world_from_environment
from lingula.core.errors import UserError

SCRIPT = Path(__file__).with_name("gather_script.py")


def start(folder: Path, rank: int, size: int, port: int) -> subprocess.Popen[bytes]:
    variables = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    environment = os.environ | {name: str(value) for name, value in variables.items()} | {"MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder)], env=environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process and of two."""
    folder = tmp_path_factory.mktemp("gather")
    port = free_port()
    processes = [start(folder, 0, 1, port), start(folder, 0, 2, port), start(folder, 1, 2, port)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    return folder


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("micro", [None, 2])
def test_two_processes_equal_one(folder: Path, rank: int, micro: int | None) -> None:
    """Loss, gradients of towers, heads and temperature, and the head's batch norm statistics."""
    one = torch.load(folder / "1-0-None.pt")
    two = torch.load(folder / f"2-{rank}-{micro}.pt")
    assert one.keys() == two.keys()
    assert min(one[name].abs().max() for name in ("image.0.weight", "text.0.weight", "log_temperature")) > 1e-3
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


def test_alone_nothing_is_gathered() -> None:
    tensor = torch.ones(3, requires_grad=True)
    assert gather_with_gradient(tensor) is tensor
    assert anyone(True, torch.device("cpu"))
    assert not anyone(False, torch.device("cpu"))


def test_world_is_read_from_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert world_from_environment() == World(0, 1, 0)
    for name, value in [("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")]:
        monkeypatch.setenv(name, value)
    assert world_from_environment() == World(5, 8, 1)
    assert not world_from_environment().is_main


def test_devices_that_are_not_there_are_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="not a device"):
        choose_device("gpu0")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no NVIDIA GPU"):
            choose_device("cuda")
