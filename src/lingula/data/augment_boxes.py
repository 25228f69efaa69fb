"""Boxes that follow their image through the transforms of `ImageTransform`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from lingula.core.types import Boxes
from lingula.data.augment import ImageTransform

KEPT_SHARE = 0.3
"""A box of which less than this share of its area is still in view is dropped."""


def varied_boxes(
    boxes: Sequence[Boxes],
    stored: int,
    transform: ImageTransform,
    keys: Sequence[tuple[int | str, ...]],
    outline: Literal["ellipse", "corners"] = "ellipse",
    kept_share: float = KEPT_SHARE,
) -> list[tuple[Boxes, Bool[np.ndarray, " boxes"]]]:
    """Move boxes as `ImageTransform.train` moves the images with the same keys.

    A turned box is no box: what is returned encloses the turned ellipse inscribed in it (findings are rounder than their
    boxes, so their boxes hardly grow; cf. Kalra et al. 2021, arXiv 2106.00102), or its turned corners, which is exact for
    rectangles only and grows a square by up to 16 % of its side at 10 degrees.

    Args:
        boxes: Per image, in stored pixels.
        stored: Side of the stored images, pixels.
        transform: The training's transform.
        keys: What each image's draw is keyed by.
        outline: What is turned.
        kept_share: Share of a box's area that has to stay in view.

    Returns:
        Per image: the boxes that are kept, clipped to the image, in seen pixels; and which of the given ones they are.
    """
    moved = []
    for own, (a, b, right, down) in zip(boxes, transform.affine(keys).astype(np.float64), strict=True):
        own = np.asarray(own, np.float64).reshape(-1, 4)
        x, y = (own[:, [0, 1]] + own[:, [2, 3]]).T / stored - 1
        half_x, half_y = (own[:, [2, 3]] - own[:, [0, 1]]).T / stored
        size = a * a + b * b
        x, y = (a * (x - right) + b * (y - down)) / size, (a * (y - down) - b * (x - right)) / size
        parts = np.abs([[a * half_x, b * half_y], [b * half_x, a * half_y]]) / size
        reach_x, reach_y = np.hypot(*parts.swapaxes(0, 1)) if outline == "ellipse" else parts.sum(axis=1)
        corners = np.stack([x - reach_x, y - reach_y, x + reach_x, y + reach_y], axis=1)
        moved.append(clip_boxes((corners + 1) * transform.image_size / 2, transform.image_size, kept_share))
    return moved


def evaluated_boxes(
    boxes: Boxes, stored: int, transform: ImageTransform, kept_share: float = KEPT_SHARE
) -> tuple[Boxes, Bool[np.ndarray, " boxes"]]:
    """Move the boxes of one image as `ImageTransform.evaluate` crops and resizes it; see `varied_boxes` for what is returned."""
    start, zoom = _crop(stored, transform)
    moved = (np.asarray(boxes, np.float64).reshape(-1, 4) - start) * zoom
    return clip_boxes(moved, transform.image_size, kept_share)


def stored_boxes(boxes: Boxes, stored: int, transform: ImageTransform) -> Boxes:
    """Move boxes that were found in an image of `ImageTransform.evaluate` back to stored pixels."""
    start, zoom = _crop(stored, transform)
    return np.asarray(boxes, np.float64).reshape(-1, 4) / zoom + start


def clip_boxes(boxes: Boxes, size: int, kept_share: float = 0.0) -> tuple[Boxes, Bool[np.ndarray, " boxes"]]:
    """Clip boxes to a square image; drop those of which nothing, or less than a share of the area, is in view.

    Returns:
        The boxes that are kept, and which of the given ones they are.
    """
    clipped = np.clip(boxes, 0, size)
    left = _areas(clipped)
    kept = (left > 0) & (left >= kept_share * _areas(boxes))
    return clipped[kept], kept


def _areas(boxes: Boxes) -> Float[np.ndarray, " boxes"]:
    areas: Float[np.ndarray, " boxes"] = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return areas


def _crop(stored: int, transform: ImageTransform) -> tuple[int, float]:
    """First stored pixel of the centre crop, and seen pixels per stored pixel; as `ImageTransform.evaluate` cuts."""
    kept = max(round(stored * transform.config.crop), 1)
    return (stored - kept) // 2, transform.image_size / kept
