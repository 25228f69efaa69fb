"""Several processes, one global batch: who am I, gathering with gradient, one answer for all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lingula.core.errors import UserError

TIMEOUT = timedelta(hours=2)
"""How long the other processes wait while the first one validates or prepares."""


@dataclass(frozen=True)
class World:
    """The place of this process among those that train together.

    Args:
        rank: Number of this process, from 0.
        size: How many there are.
        local_rank: Number of this process on its machine: which GPU it uses.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and talks to the user."""
        return self.rank == 0


def world_from_environment() -> World:
    """Read what torchrun (or SLURM's wrapper of it) sets: RANK, WORLD_SIZE, LOCAL_RANK."""
    rank, size, local = (int(os.environ.get(name, default)) for name, default in _VARIABLES.items())
    return World(rank, size, local)


_VARIABLES = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}


@contextmanager
def process_group(world: World, device: torch.device) -> Iterator[None]:
    """Join the other processes (nccl on GPUs, gloo on CPUs), unless alone or already joined."""
    if world.size == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def choose_device(name: str, world: World | None = None) -> torch.device:
    """Return the device that a configuration names; `auto` is the GPU where there is one.

    Raises:
        UserError: The device does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"'{name}' is not a device", "Give cpu, cuda or auto.") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError("no NVIDIA GPU can be used here", "Give --runtime.device cpu or auto.")
        local = world.local_rank if world is not None and world.size > 1 else device.index or 0
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        raise UserError(f"'{name}' is not supported", "Give cpu, cuda or auto.")
    return device


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """Concatenate a tensor of equal shape from every process along the first axis, in the order of ranks.

    Every process must compute the *same* loss from the result. Its backward then returns this process's own rows of the
    gradient times the number of processes: averaging the parameters' gradients over the processes (as DDP does) yields for
    the towers Σ_rank ∂L/∂e_rank · ∂e_rank/∂θ, the gradient of one process with the whole batch; parameters after the gather
    (the heads) have that gradient on every process already, and the average leaves it as it is. No message is sent backwards.

    Args:
        tensor: `batch ...`, this process's rows.

    Returns:
        `world*batch ...`; the tensor itself where there is one process.
    """
    if not together():
        return tensor
    gathered: Tensor = _Gather.apply(tensor)
    return gathered


def gather(tensor: Tensor) -> Tensor:
    """Concatenate a tensor of equal shape from every process along the first axis, without gradient."""
    if not together():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.detach().contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = len(tensor)
        return gather(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        start = dist.get_rank() * ctx.rows
        return gradients[0][start : start + ctx.rows] * dist.get_world_size()


def total(tensor: Tensor) -> Tensor:
    """Sum a tensor of equal shape over every process, without gradient."""
    summed = tensor.detach().clone()
    if together():
        dist.all_reduce(summed)
    return summed


def anyone(value: bool, device: torch.device) -> bool:
    """Return whether the value is true on any process; every process must ask."""
    if not together():
        return value
    flag = torch.tensor(int(value), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def wait_for_all() -> None:
    """Wait until every process is here."""
    if together():
        dist.barrier()


@contextmanager
def main_process_first(world: World) -> Iterator[None]:
    """Let the main process do something (and leave its result on disk) before the others do it."""
    if not world.is_main:
        wait_for_all()
    yield
    if world.is_main:
        wait_for_all()


def together() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
