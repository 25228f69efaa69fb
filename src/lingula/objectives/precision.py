"""What every objective does first: leave autocast and half precision behind."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST_NORM = 1e-12


def full_precision(values: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return the values in fp32; float64 stays float64. Differentiable."""
    return values if values.dtype == torch.float64 else values.float()


def no_autocast(values: Tensor) -> torch.autocast:
    """Context in which operations on the device of `values` keep the precision of their inputs."""
    return torch.autocast(values.device.type, enabled=False)


def unit_vectors(values: Float[Tensor, "*axes features"]) -> Float[Tensor, "*axes features"]:
    """L2-normalise the last axis in full precision; a zero vector stays zero and its gradient stays finite."""
    with no_autocast(values):
        values = full_precision(values)
        norm = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
        return values / torch.where(norm > SMALLEST_NORM, norm, torch.ones_like(norm))
