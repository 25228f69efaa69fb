"""Pseudo masks: an attention map becomes a segmentation target, without any parameter (G2D, NeurIPS 2024, arXiv 2312.01522)."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from lingula.core.types import Images
from lingula.objectives.mask_smoothing import Smoothing, smoothed
from lingula.objectives.precision import no_autocast

Threshold: TypeAlias = Literal["quantile", "mean", "median", "gmm"]
Interpolation: TypeAlias = Literal["nearest", "bilinear"]
Domain: TypeAlias = Literal["image", "body"]
Maps: TypeAlias = Float[Tensor, "batch masks height width"]

BINS = 256
"""Grey levels of Otsu's histogram."""
GMM_STEPS = 30
_CONSTANT = 1e-6
"""A map whose range is below this share of its largest magnitude says nothing."""


@torch.no_grad()
def pseudo_masks(
    attention: Float[Tensor, "batch heads rows columns"],
    size: tuple[int, int],
    threshold: Threshold = "quantile",
    quantile: float = 0.85,
    interpolation: Interpolation = "nearest",
    inclusive: bool = False,
    domain: Domain = "image",
    image: Images | None = None,
    smooth: Smoothing | None = None,
    per_head: bool = False,
) -> Maps:
    """Average the heads, enlarge, keep the strongest part, smooth its edge.

    In fp32 whatever the input, since ties in half precision change the count. Heads are averaged (eq. 2 of the paper); a pixel is
    inside where its value exceeds the threshold (eq. 3; `inclusive` as printed, strict as in the official code). A constant map
    gives an empty mask either way. There is no loop over images and no copy to the host.

    Args:
        attention: `batch heads rows columns`, the mean token's own column dropped.
        size: Height and width of the masks.
        threshold: `quantile` and `median` (linear between order statistics), `mean`, or where the upper of two Gaussians, fitted
            by expectation maximisation, is likelier than the lower (`gmm`).
        quantile: Which one.
        interpolation: `nearest` as in the official code, or `bilinear`.
        inclusive: Whether pixels equal to the threshold are inside.
        domain: The threshold is taken over the whole image, or over the body (Otsu 1979 on the image); outside the body all is 0.
        image: `batch channels height width`, bright is body; needed for the domain `body` and for guided smoothing.
        smooth: Edge-preserving smoothing of the mask: `bilateral` (on the mask), `guided` (by the image), or None.
        per_head: One mask per head instead of one of their mean.

    Returns:
        `batch 1 height width`, or `batch heads height width`: 0 and 1, between them where smoothed.

    Raises:
        ValueError: Shapes, options or the quantile do not fit, or the image is missing.
    """
    _check(attention, threshold, quantile, interpolation, domain, image, smooth)
    with no_autocast(attention):
        maps = attention.detach().float()
        maps = maps if per_head else maps.mean(dim=1, keepdim=True)
        corners = {"align_corners": False} if interpolation == "bilinear" else {}
        maps = functional.interpolate(maps, size, mode=interpolation, **corners)
        guide = None if image is None else grey_of(image, size)
        inside = torch.ones_like(maps, dtype=torch.bool)
        if domain == "body" and guide is not None:
            inside = body_mask(guide).expand_as(maps)
        masks = (_chosen(maps, inside, threshold, quantile, inclusive) & inside & _varies(maps, inside)).float()
        return masks if smooth is None else smoothed(masks, smooth, guide) * inside


def grey_of(image: Images, size: tuple[int, int]) -> Float[Tensor, "batch 1 height width"]:
    """Return the mean over channels at another size, each image's values brought to 0 to 1."""
    grey = image.detach().float().mean(dim=1, keepdim=True)
    if grey.shape[-2:] != size:
        grey = functional.interpolate(grey, size, mode="bilinear", align_corners=False, antialias=True)
    low, high = (end(grey, dim=(2, 3), keepdim=True) for end in (torch.amin, torch.amax))
    return (grey - low) / (high - low).clamp_min(torch.finfo(grey.dtype).tiny)


def body_mask(grey: Float[Tensor, "batch 1 height width"]) -> Bool[Tensor, "batch 1 height width"]:
    """Return the pixels above Otsu's threshold, which maximises the variance between the two classes (Otsu 1979).

    Args:
        grey: Values from 0 to 1. A constant image is body all over.
    """
    batch = len(grey)
    levels = (grey * (BINS - 1)).round().long().clamp(0, BINS - 1).reshape(batch, -1)
    counts = torch.zeros(batch, BINS, device=grey.device).scatter_add_(1, levels, torch.ones_like(levels, dtype=grey.dtype))
    shares = counts / levels.shape[1]
    places = torch.arange(BINS, device=grey.device, dtype=grey.dtype)
    below, moment = shares.cumsum(dim=1), (shares * places).cumsum(dim=1)
    between = (moment[:, -1:] * below - moment).square() / (below * (1 - below)).clamp_min(1e-12)
    between = torch.where((below > 1e-7) & (below < 1 - 1e-7), between, 0.0)
    cut = between.argmax(dim=1)
    above = levels > cut[:, None]
    return torch.where(between.amax(dim=1, keepdim=True) > 0, above, True).reshape(grey.shape)


def masked_quantile(maps: Maps, inside: Bool[Tensor, "batch masks height width"], quantile: float) -> Maps:
    """Return each map's quantile over some of its pixels, linear between order statistics, `batch masks 1 1`; NaN over none."""
    values = torch.where(inside, maps, torch.inf).flatten(2).sort(dim=2).values
    count = inside.flatten(2).sum(dim=2, keepdim=True)
    place = (count - 1).clamp_min(0).double() * quantile
    low = place.floor().long()
    high = torch.minimum(low + 1, (count - 1).clamp_min(0))
    first, second = values.gather(2, low), values.gather(2, high)
    found = torch.lerp(first, second, (place - low).to(values.dtype))
    return torch.where(count > 0, found, torch.nan)[..., None]


def _chosen(
    maps: Maps, inside: Bool[Tensor, "batch masks height width"], threshold: Threshold, quantile: float, inclusive: bool
) -> Bool[Tensor, "batch masks height width"]:
    if threshold == "gmm":
        return _upper_gaussian(maps, inside)
    if threshold == "mean":
        limit = _mean(maps, inside)
    else:
        limit = masked_quantile(maps, inside, 0.5 if threshold == "median" else quantile)
    return maps >= limit if inclusive else maps > limit


def _mean(maps: Maps, weights: Tensor) -> Maps:
    """Weighted mean of each map, `batch masks 1 1`."""
    total = weights.sum(dim=(2, 3), keepdim=True)
    return (maps * weights).sum(dim=(2, 3), keepdim=True) / total.clamp_min(torch.finfo(maps.dtype).tiny)


def _upper_gaussian(maps: Maps, inside: Bool[Tensor, "batch masks height width"]) -> Bool[Tensor, "batch masks height width"]:
    """Return where the upper of two Gaussians is the likelier one, by a fixed number of steps of expectation maximisation."""
    known = inside.to(maps.dtype)
    mean = _mean(maps, known)
    spread = _mean((maps - mean).square(), known).sqrt().clamp_min(torch.finfo(maps.dtype).tiny)
    values = (maps - mean) / spread
    likelier = (values > 0).to(maps.dtype)
    for _ in range(GMM_STEPS):
        scores = [_log_density(values, known * part, known) for part in (likelier, 1 - likelier)]
        likelier = torch.sigmoid(scores[0] - scores[1])
    return (likelier > 0.5) & (values > _mean(values, known * (1 - likelier)))


def _log_density(values: Maps, weights: Maps, known: Maps) -> Maps:
    """Log of share times Gaussian density, fitted to weighted values."""
    share = weights.sum(dim=(2, 3), keepdim=True) / known.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    mean = _mean(values, weights)
    variance = _mean((values - mean).square(), weights).clamp_min(1e-6)
    return share.clamp_min(1e-12).log() - (values - mean).square() / (2 * variance) - variance.log() / 2


def _varies(maps: Maps, inside: Bool[Tensor, "batch masks height width"]) -> Bool[Tensor, "batch masks 1 1"]:
    """Whether a map is not constant where it counts."""
    low = torch.where(inside, maps, torch.inf).amin(dim=(2, 3), keepdim=True)
    high = torch.where(inside, maps, -torch.inf).amax(dim=(2, 3), keepdim=True)
    return high - low > _CONSTANT * torch.maximum(low.abs(), high.abs()).clamp_min(torch.finfo(maps.dtype).tiny)


def _check(
    attention: Tensor,
    threshold: str,
    quantile: float,
    interpolation: str,
    domain: str,
    image: Tensor | None,
    smooth: str | None,
) -> None:
    if attention.ndim != 4 or 0 in attention.shape:
        raise ValueError(f"attention [batch, heads, rows, columns] needed, got {tuple(attention.shape)}")
    options = ((threshold, Threshold), (interpolation, Interpolation), (domain, Domain), (smooth, Smoothing))
    for given, known in options:
        if given is not None and given not in get_args(known):
            raise ValueError(f"one of {', '.join(get_args(known))} needed, got {given!r}")
    if not 0 <= quantile <= 1:
        raise ValueError(f"a quantile lies between 0 and 1, got {quantile}")
    if image is None and (domain == "body" or smooth == "guided"):
        raise ValueError("the body mask and the guided filter look at the image: give image")
    if image is not None and (image.ndim != 4 or len(image) != len(attention)):
        raise ValueError(f"image [batch, channels, height, width] of {len(attention)} needed, got {tuple(image.shape)}")
