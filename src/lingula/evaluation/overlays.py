"""Masks, contours, boxes and heat-maps drawn over a radiograph; every function returns a new image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from lingula.core.types import Pixels

Picture: TypeAlias = UInt8[np.ndarray, "height width 3"]
Mask: TypeAlias = Bool[np.ndarray, "height width"]
Colour: TypeAlias = tuple[int, int, int]

TRUTH: Colour = (60, 220, 90)
PREDICTION: Colour = (255, 80, 60)
"""Green is what is true, red what a model says, in every picture of the project."""
OPACITY = 0.35


def grey_to_rgb(pixels: Pixels) -> Picture:
    """Turn grey values into three equal channels; 16-bit values are scaled between their 0.5th and 99.5th percentile.

    Args:
        pixels: `height width`, uint8 or uint16.
    """
    return np.repeat(eight_bits(pixels)[:, :, None], 3, axis=2)


def eight_bits(pixels: Pixels) -> UInt8[np.ndarray, "height width"]:
    """Turn grey values into 8 bits; 16-bit values are scaled between their 0.5th and 99.5th percentile."""
    if pixels.dtype != np.uint8:
        low, high = np.percentile(pixels, [0.5, 99.5])
        pixels = (255 * np.clip((pixels - low) / max(high - low, 1), 0, 1)).astype(np.uint8)
    return pixels


def draw_mask(image: Picture, mask: Mask, colour: Colour = PREDICTION, opacity: float = OPACITY) -> Picture:
    """Tint the inside of a mask and draw its contour.

    Args:
        image: `height width 3`.
        mask: `height width`.
        colour: Red, green, blue from 0 to 255.
        opacity: How much of the tint covers the image, 0 to 1.

    Raises:
        ValueError: The mask is not of the image's size.
    """
    _check(image, mask)
    drawn = image.astype(np.float32)
    drawn[mask] += opacity * (np.array(colour, np.float32) - drawn[mask])
    return draw_contour(np.rint(drawn).astype(np.uint8), mask, colour)


def draw_contour(image: Picture, mask: Mask, colour: Colour = TRUTH) -> Picture:
    """Draw the inner border of a mask, one pixel wide: what of it touches the outside by an edge.

    Raises:
        ValueError: The mask is not of the image's size.
    """
    _check(image, mask)
    drawn = image.copy()
    drawn[border(mask)] = colour
    return drawn


def border(mask: Mask) -> Mask:
    """Return the pixels of a mask with at least one of their four neighbours outside; beyond the image is outside."""
    padded = np.pad(mask, 1)
    inner: Mask = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    outer: Mask = mask & ~inner
    return outer


def draw_boxes(
    image: Picture,
    boxes: Sequence[tuple[float, float, float, float]],
    colour: Colour = PREDICTION,
    labels: Sequence[str] | None = None,
) -> Picture:
    """Draw frames one pixel wide, with words above them, or inside where there is no room above.

    Args:
        image: `height width 3`.
        boxes: x1, y1, x2, y2 in pixels; the right and lower ends are outside, as in a store. What leaves the image is cut off.
        colour: Red, green, blue from 0 to 255.
        labels: One per box.

    Raises:
        ValueError: There is not one label per box, or a box is empty.
    """
    words = [""] * len(boxes) if labels is None else list(labels)
    if len(words) != len(boxes):
        raise ValueError(f"{len(boxes)} boxes and {len(words)} labels")
    canvas = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(canvas)
    for (x1, y1, x2, y2), word in zip(boxes, words, strict=True):
        if not (x2 > x1 and y2 > y1):
            raise ValueError(f"box {(x1, y1, x2, y2)} is empty")
        left, top = round(x1), round(y1)
        pen.rectangle((left, top, max(round(x2) - 1, left), max(round(y2) - 1, top)), outline=colour)
        if word:
            height = pen.textbbox((0, 0), word)[3]
            pen.text((left + 1, top - height - 1 if top > height else top + 1), word, fill=colour)
    return np.array(canvas)


def draw_heatmap(
    image: Picture,
    values: Float[np.ndarray, "height width"],
    limits: tuple[float, float] | None = None,
    opacity: float = 0.5,
    colours: str = "inferno",
) -> Picture:
    """Lay a map over an image, more opaque where it is higher, so that low values leave the image as it is.

    Args:
        image: `height width 3`.
        values: `height width`.
        limits: Values of the lowest and the highest colour; None: the map's own smallest and largest. A constant map is lowest.
        opacity: Opacity of the highest value, 0 to 1.
        colours: Name of a matplotlib colour map.

    Raises:
        ValueError: The map is not of the image's size or holds a value that is not finite.
    """
    import matplotlib

    _check(image, values)
    if not np.isfinite(values).all():
        raise ValueError("a heat-map needs finite values")
    low, high = limits or (float(values.min()), float(values.max()))
    share = np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(values.shape)
    tint = 255 * matplotlib.colormaps[colours](share)[:, :, :3]
    drawn: Picture = np.rint(image + opacity * share[:, :, None] * (tint - image)).astype(np.uint8)
    return drawn


def _check(image: Picture, layer: np.ndarray) -> None:
    if image.shape[:2] != layer.shape:
        raise ValueError(f"an image of {image.shape[:2]} and a layer of {layer.shape} pixels")
