"""Edge-preserving smoothing of masks, batched."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Smoothing: TypeAlias = Literal["bilateral", "guided"]
Masks: TypeAlias = Float[Tensor, "batch masks height width"]

RADIUS = 1 / 64
"""Radius of the windows as a share of the longer side, at least one pixel."""
RANGE = 0.5
"""Standard deviation of the bilateral filter over mask values."""
REGULARISATION = 1e-3
"""The guided filter keeps edges whose variance in the image is above this (grey values 0 to 1)."""


def smoothed(masks: Masks, kind: Smoothing, guide: Float[Tensor, "batch 1 height width"] | None = None) -> Masks:
    """Smooth masks; an empty mask stays empty, a full one full.

    `bilateral`: weights fall with distance and with the difference of mask values (Tomasi & Manduchi 1998). `guided`: the mask
    becomes a locally linear function of the image (He, Sun & Tang 2013), so that its edge follows the image's. The paper gives
    neither parameters nor the filter's input; these are ours.

    Args:
        masks: Values from 0 to 1.
        kind: Which filter.
        guide: The image, values from 0 to 1; needed by `guided`.

    Raises:
        ValueError: The guide is missing.
    """
    radius = max(round(max(masks.shape[-2:]) * RADIUS), 1)
    if kind == "bilateral":
        return _bilateral(masks, radius)
    if guide is None:
        raise ValueError("the guided filter looks at the image")
    return _guided(masks, guide, radius)


def _bilateral(masks: Masks, radius: int) -> Masks:
    height, width = masks.shape[-2:]
    padded = functional.pad(masks, (radius,) * 4, mode="replicate")
    total, weights = torch.zeros_like(masks), torch.zeros_like(masks)
    for down in range(2 * radius + 1):
        for right in range(2 * radius + 1):
            moved = padded[..., down : down + height, right : right + width]
            distance = ((down - radius) ** 2 + (right - radius) ** 2) / radius**2
            weight = math.exp(-distance / 2) * torch.exp((moved - masks).square() / (-2 * RANGE**2))
            total, weights = total + weight * moved, weights + weight
    return total / weights


def _guided(masks: Masks, guide: Float[Tensor, "batch 1 height width"], radius: int) -> Masks:
    mean_guide, mean_mask = _box(guide, radius), _box(masks, radius)
    covariance = _box(guide * masks, radius) - mean_guide * mean_mask
    variance = _box(guide * guide, radius) - mean_guide.square()
    slope = covariance / (variance + REGULARISATION)
    offset = mean_mask - slope * mean_guide
    return (_box(slope, radius) * guide + _box(offset, radius)).clamp(0, 1)


def _box(values: Masks, radius: int) -> Masks:
    """Mean over a square window, over what of it lies in the image."""
    return functional.avg_pool2d(values, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
