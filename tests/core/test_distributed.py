from __future__ import annotations

import pytest
import torch

from lingula.core.distributed import World, anyone, choose_device, gather_with_gradient, world_from_environment
from lingula.core.errors import UserError


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
