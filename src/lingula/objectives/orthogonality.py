"""Orthogonality of the feature space (M-FLAG, arXiv 2307.08347), its floor in a finite batch, and the rank it works on."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lingula.core.types import Scalar
from lingula.objectives.precision import full_precision, no_autocast

Form: TypeAlias = Literal["raw", "centred", "standardised"]
Features: TypeAlias = Float[Tensor, "batch dim"]


def orthogonality_loss(
    features: Features, off_diagonal_weight: float = 0.0051, form: Form = "raw", per_dimension: bool = False
) -> Scalar:
    """Distance of the second-moment matrix C from the identity: 1/2 [sum_j (C_jj - 1)^2 + w sum_{j != k} C_jk^2].

    C = F'F / batch. `raw` takes the features as they are (the released M-FLAG), `centred` subtracts the batch mean
    (C is the covariance), `standardised` also divides by the standard deviation (C is the correlation matrix, the diagonal
    term vanishes; a constant feature counts as zero). Divides by the true number of rows. Where the batch is smaller than
    the dimension, the same value is computed from the batch x batch Gram matrix. Equation from the official M-FLAG code.

    Args:
        features: `batch dim`.
        off_diagonal_weight: w, not negative.
        form: See above.
        per_dimension: Divide by `dim`, so that the value does not grow with the encoder's width.

    Raises:
        ValueError: Not two axes, an empty batch, or a single sample where a mean must be subtracted.
    """
    _check(features, off_diagonal_weight, form)
    batch, dimension = features.shape
    with no_autocast(features):
        rows = _prepare(full_precision(features), form) / batch**0.5
        if batch < dimension:
            diagonal = rows.square().sum(dim=0)
            off_diagonal = (rows @ rows.T).square().sum() - diagonal.square().sum()
        else:
            moments = rows.T @ rows
            diagonal = moments.diagonal()
            off_diagonal = (moments - diagonal.diag_embed()).square().sum()
        loss: Scalar = ((diagonal - 1).square().sum() + off_diagonal_weight * off_diagonal) / 2
        return loss / dimension if per_dimension else loss


def orthogonality_floor(
    batch: int, dimension: int, off_diagonal_weight: float = 0.0051, form: Form = "raw", per_dimension: bool = False
) -> float:
    """Least value of `orthogonality_loss` that any features of this shape can reach; above 0 where the rank r < dimension.

    r = min(batch, dimension), with one less from the batch where a mean is subtracted. The least squared norm of a C of
    trace S and rank r is S^2 / r, reached together with a constant diagonal by a tight frame. Minimising over S gives
    dimension / 2 * x / (1 + x), x = w (dimension / r - 1), for w <= 1, and (dimension - r) / 2 (C a projection on r axes)
    for w >= 1. Standardised features have S = dimension, hence dimension / 2 * x.

    Raises:
        ValueError: A size is not positive, the weight is negative, or one sample where a mean must be subtracted.
    """
    if batch < 1 or dimension < 1 or off_diagonal_weight < 0 or form not in get_args(Form):
        raise ValueError(f"no floor for batch={batch}, dimension={dimension}, weight={off_diagonal_weight}, form={form!r}")
    if form != "raw" and batch < 2:
        raise ValueError("at least two samples are needed to subtract a mean")
    rank = min(batch if form == "raw" else batch - 1, dimension)
    excess = off_diagonal_weight * (dimension / rank - 1)
    if form == "standardised":
        floor = dimension / 2 * excess
    elif off_diagonal_weight >= 1:
        floor = (dimension - rank) / 2
    else:
        floor = dimension / 2 * excess / (1 + excess)
    return floor / dimension if per_dimension else floor


def effective_rank(features: Features) -> Scalar:
    """Participation ratio of the covariance's eigenvalues, (sum l)^2 / sum l^2: 1 is a collapse to one axis; 0 to a point.

    Computed without an eigendecomposition, from the smaller of the two Gram matrices.

    Raises:
        ValueError: Not two axes or fewer than two samples.
    """
    _check(features, 0.0, "centred")
    with no_autocast(features):
        rows = _prepare(full_precision(features), "centred")
        gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
        trace = gram.diagonal().sum()
        return torch.where(trace > 0, trace.square() / gram.square().sum().clamp_min(torch.finfo(gram.dtype).tiny), trace)


def _check(features: Tensor, off_diagonal_weight: float, form: str) -> None:
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features [batch, dim] needed, got {tuple(features.shape)}")
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {form!r}")
    if off_diagonal_weight < 0:
        raise ValueError(f"the off-diagonal weight must not be negative, got {off_diagonal_weight}")
    if form != "raw" and len(features) < 2:
        raise ValueError("at least two samples are needed to subtract a mean")


def _prepare(features: Features, form: Form) -> Features:
    """Centre and standardise as the form asks."""
    if form == "raw":
        return features
    centred = features - features.mean(dim=0)
    if form == "centred":
        return centred
    variance = centred.square().mean(dim=0)
    rounding = (16 * torch.finfo(features.dtype).eps) ** 2 * features.detach().square().mean(dim=0)
    varies = variance > rounding
    deviation = torch.where(varies, variance, torch.ones_like(variance)).sqrt()
    return torch.where(varies, centred, torch.zeros_like(centred)) / deviation
