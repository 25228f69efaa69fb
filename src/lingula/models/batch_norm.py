"""Batch norm over the samples of all processes, so that one process and many train alike; on GPUs and CPUs."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lingula.core.distributed import gather, together, total
from lingula.core.errors import UserError


class GlobalBatchNorm(_BatchNorm):
    """Batch norm (Ioffe and Szegedy 2015, arXiv 1502.03167) whose mean and variance are those of all processes' samples.

    Takes over parameters, statistics, mode and names of another batch norm, and what that one applies behind itself.
    Processes may have different numbers of samples. In evaluation mode, and alone, it is the batch norm it replaces.

    Args:
        norm: The batch norm to replace.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name, parameter in norm.named_parameters(recurse=False):
            setattr(self, name, parameter)
        for name, buffer in norm.named_buffers(recurse=False):
            setattr(self, name, buffer)
        for name, child in norm.named_children():
            self.add_module(name, child)
        self.train(norm.training)

    def forward(self, input: Float[Tensor, "batch features *grid"]) -> Float[Tensor, "batch features *grid"]:
        """Normalise each feature over batch and grid."""
        shared = together() and (self.training or self.running_mean is None)
        result = self._normalise(input) if shared else super().forward(input)
        for child in self.children():
            result = child(result)
        return result

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch norm needs [batch, features, ...], got {tuple(input.shape)}")

    def _normalise(self, values: Tensor) -> Tensor:
        self._check_input_dim(values)
        with torch.autocast(values.device.type, enabled=False):
            mean, variance, count = _global_statistics(values.detach())
            self._track(mean, variance * count / (count - 1).clamp_min(1))
            scale = (variance + self.eps).rsqrt()
            result: Tensor = _Normalise.apply(values, self.weight, self.bias, mean, scale, count)
            return result

    def _track(self, mean: Tensor, unbiased: Tensor) -> None:
        if not self.training or self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum  # type: ignore[arg-type]
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), factor)


def share_batch_norms(module: nn.Module) -> None:
    """Replace every batch norm inside a module by one over the samples of all processes; in place.

    Raises:
        UserError: A batch norm is of a kind that computes something else too.
    """
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, GlobalBatchNorm):
                _check_kind(child)
                setattr(parent, name, GlobalBatchNorm(child))


def _check_kind(norm: _BatchNorm) -> None:
    kind = type(norm)
    with_activation = kind.__module__.startswith("timm.") and kind.__name__ == "BatchNormAct2d"
    if kind not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) and not with_activation:
        raise UserError(
            f"a {kind.__name__} cannot be computed over all processes", "Give --optimisation.batch-norm local or another encoder."
        )


def _global_statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance per feature, and the number of values, over all processes (Chan et al. 1979): one message."""
    rows = _full_precision(values).transpose(0, 1).flatten(1)
    own = rows.shape[1]
    mean = rows.sum(1) / max(own, 1)
    squares = (rows - mean[:, None]).square().sum(1)
    parts = gather(torch.cat([mean, squares, mean.new_tensor([own])])[None])
    means, squares, counts = parts[:, : len(mean)], parts[:, len(mean) : -1], parts[:, -1:]
    count = counts.sum()
    mean = (means * counts).sum(0) / count
    variance = (squares + counts * (means - mean).square()).sum(0) / count
    return mean, variance, count


class _Normalise(torch.autograd.Function):
    """y = (x - mean) · scale · weight + bias; mean and scale depend on the x of every process, and so does the gradient."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, scale: Tensor, count: Tensor
    ) -> Tensor:
        ctx.save_for_backward(values, weight, mean, scale, count)
        result = (_full_precision(values) - _along(mean, values)) * _along(scale, values)
        if weight is not None and bias is not None:
            result = result * _along(weight, values) + _along(bias, values)
        return result.to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, scale, count = ctx.saved_tensors
        upstream = _full_precision(gradients[0])
        normalised = (_full_precision(values) - _along(mean, values)) * _along(scale, values)
        axes = [axis for axis in range(values.ndim) if axis != 1]
        for_bias, for_weight = upstream.sum(axes), (upstream * normalised).sum(axes)
        down = None
        if ctx.needs_input_grad[0]:
            sums = total(torch.stack([for_bias, for_weight])) / count
            down = upstream - _along(sums[0], values) - normalised * _along(sums[1], values)
            down = (down * _along(scale if weight is None else scale * weight, values)).to(values.dtype)
        if weight is None:
            return down, None, None, None, None, None
        return down, for_weight.to(weight.dtype), for_bias.to(weight.dtype), None, None, None


def _along(feature: Tensor, values: Tensor) -> Tensor:
    """`features` as an axis of `batch features ...`."""
    return feature.reshape(1, -1, *[1] * (values.ndim - 2))


def _full_precision(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
