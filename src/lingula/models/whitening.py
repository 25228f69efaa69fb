"""Whitening of frozen features: every direction gets the same weight, once and for all."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Whitening(nn.Module):
    """Subtract the mean and multiply by C^(-1/2) (ZCA; Kessy et al. 2018, arXiv 1512.00809), with mean and C of all batches seen.

    For features that do not change during training, such as those of a frozen language model: mean and covariance are averages
    over every batch so far, so they settle. There is no gradient through them.

    Args:
        dimension: Size of the features.
        shrinkage: Share of the mean eigenvalue that is added to every eigenvalue; rare directions stay small instead of noise.
    """

    mean: Tensor
    covariance: Tensor
    seen: Tensor

    def __init__(self, dimension: int, shrinkage: float = 0.1) -> None:
        super().__init__()
        self.shrinkage = shrinkage
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("covariance", torch.eye(dimension))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """Whiten; in training mode the batch is counted first."""
        with torch.autocast(features.device.type, enabled=False):
            values = features.to(self.mean.dtype)
            if self.training:
                self._count(values.detach())
            return (values - self.mean) @ self._matrix()

    def _count(self, batch: Tensor) -> None:
        """Merge the moments of a batch into those of all before it."""
        share = len(batch) / (self.seen + len(batch))
        step = batch.mean(dim=0) - self.mean
        centred = batch - batch.mean(dim=0)
        own = centred.T @ centred / len(batch)
        before = self.covariance if bool(self.seen > 0) else torch.zeros_like(self.covariance)
        self.covariance = (1 - share) * before + share * own + share * (1 - share) * torch.outer(step, step)
        self.mean = self.mean + share * step
        self.seen = self.seen + len(batch)

    def _matrix(self) -> Tensor:
        values, vectors = torch.linalg.eigh(self.covariance)
        values = values.clamp_min(0) + self.shrinkage * values.mean().clamp_min(torch.finfo(values.dtype).tiny)
        matrix: Tensor = (vectors * values.rsqrt()) @ vectors.T
        return matrix
