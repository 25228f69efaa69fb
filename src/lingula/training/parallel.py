"""How a method is spread over processes: whole on each (DDP) or in shares (FSDP2); checkpoints are the same for all."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from lingula.core.checkpoint import read_weights
from lingula.core.distributed import World, total
from lingula.core.errors import UserError
from lingula.methods.base import Method
from lingula.models.batch_norm import share_batch_norms
from lingula.training.config import OptimisationConfig
from lingula.training.step import GlobalLosses


class Spread:
    """A method and its losses on this process.

    With `fsdp` each process keeps a share of every parameter, gradient and moment, and fetches whole towers when they run;
    the first process keeps a whole copy beside it for validation.

    Args:
        method: Whole, on its device.
        optimisation: Micro-batches and batch norms.
        kind: `ddp` or `fsdp`; nothing to choose where there is one process.
        world: This process's place among all.
        trains_text: Whether a text encoder is trained, parts of which may get no gradient.
    """

    def __init__(
        self, method: Method, optimisation: OptimisationConfig, kind: Literal["ddp", "fsdp"], world: World, trains_text: bool
    ) -> None:
        self.method = method
        self.sharded = kind == "fsdp" and world.size > 1
        if world.size > 1 and optimisation.batch_norm == "global":
            for tower in method.towers():
                share_batch_norms(tower)
        self._copy = copy.deepcopy(method).eval() if self.sharded and world.is_main else None
        losses = GlobalLosses(method, optimisation.micro_batch_size)
        self.losses: nn.Module = losses
        if self.sharded:
            _shard(losses)
        elif world.size > 1:
            self.losses = DistributedDataParallel(losses, find_unused_parameters=trains_text or method.rests_parts)

    def weights(self) -> dict[str, Tensor]:
        """Return the whole state dict; every process must ask."""
        return {name: _whole(value) for name, value in self.method.state_dict().items()}

    def load_weights(self, path: Path) -> None:
        """Load a whole weights file; every process must do so.

        Raises:
            UserError: As in `read_weights`; the method is then unchanged.
        """
        wanted = self.method.state_dict()
        tensors = read_weights(path, wanted)
        with torch.no_grad():
            for name, value in wanted.items():
                value.copy_(_like(tensors[name].to(value.device), value))

    def whole(self) -> Method:
        """Return the method with whole parameters, for validation on the main process; every process must ask."""
        if not self.sharded:
            return self.method
        weights = self.weights()
        if self._copy is None:
            return self.method
        self._copy.load_state_dict(weights)
        return self._copy


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state of an optimiser with whole tensors; every process must ask."""
    whole: dict[str, Any] = _map_tensors(optimiser.state_dict(), _whole)
    return whole


def load_optimiser_state(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a state of whole tensors; every process must do so.

    Raises:
        UserError: It belongs to other parameters.
    """
    parameters = dict(enumerate(p for group in optimiser.param_groups for p in group["params"]))
    try:
        shares = {number: _shares(own, parameters[number]) for number, own in state["state"].items()}
        optimiser.load_state_dict({**state, "state": shares})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        problem = f"the optimiser's state does not fit this model ({error})"
        raise UserError(problem, "Resume with the run's own configuration.") from None


def clip_gradients(method: nn.Module, most: float) -> Tensor:
    """Scale the gradients of all parameters down to a norm of at most `most`; return the norm before, over all processes."""
    gradients = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    if not any(isinstance(gradient, DTensor) for gradient in gradients):
        whole: Tensor = nn.utils.clip_grad_norm_(method.parameters(), most)
        return whole
    shared = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    alike = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    norm = (total(_sum_of_squares(shared)) + _sum_of_squares(alike)).sqrt()
    factor = min(most / (norm.item() + 1e-6), 1.0)
    for gradient in [*shared, *alike]:
        gradient.mul_(factor)
    return norm


def _sum_of_squares(tensors: Sequence[Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(tensor) for tensor in tensors]
    return torch.stack(norms).square().sum() if norms else torch.zeros(())


def _shard(losses: GlobalLosses) -> None:
    """Shard every tower as one unit and the rest as another; scalars (temperatures) stay whole on every process.

    A tower is fetched when its `forward` runs, or another of its methods that `other_forwards` names. A scalar's gradient comes
    from the loss of the global batch, so it is the same on every process without a message.
    """
    scalars = {parameter for parameter in losses.parameters() if parameter.ndim == 0}
    for tower in losses.method.towers():
        if any(parameter.requires_grad for parameter in tower.parameters()):
            fully_shard(tower, ignored_params=scalars)
            for name in getattr(tower, "other_forwards", ()):
                register_fsdp_forward_method(tower, name)
    fully_shard(losses, ignored_params=scalars)


def _whole(value: Tensor) -> Tensor:
    if not isinstance(value, DTensor):
        return value
    whole: Tensor = value.full_tensor()
    return whole


def _like(value: Tensor, other: Tensor) -> Tensor:
    """Cut the share of a whole tensor that corresponds to another one's."""
    return distribute_tensor(value, other.device_mesh, other.placements) if isinstance(other, DTensor) else value


def _shares(state: Mapping[str, Any], parameter: Tensor) -> dict[str, Any]:
    """Cut what has the shape of the parameter like the parameter; step counters stay whole."""
    shares: dict[str, Any] = {}
    for name, value in state.items():
        moment = isinstance(value, Tensor) and value.ndim > 0
        if moment and value.shape != parameter.shape:
            raise ValueError(f"{name} is {tuple(value.shape)} for a parameter of {tuple(parameter.shape)}")
        shares[name] = _like(value, parameter) if moment else value
    return shares


def _map_tensors(values: Any, change: Any) -> Any:
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, Mapping):
        return {key: _map_tensors(value, change) for key, value in values.items()}
    return [_map_tensors(value, change) for value in values] if isinstance(values, list) else values
