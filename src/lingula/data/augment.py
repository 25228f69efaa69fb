"""From stored grey values to normalised images: augmented for training, fixed for inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

from lingula.core.randomness import keyed_uniforms
from lingula.core.types import Images, Pixels, RowNumbers
from lingula.data.augment_config import AugmentConfig

if TYPE_CHECKING:
    from lingula.data.store import Store

GreyImages: TypeAlias = Float[Tensor, "batch 1 height width"]
"""Grey values from 0 (black) to 1."""
MaskStack: TypeAlias = Bool[np.ndarray, "classes height width"]
"""One mask per class of one stored image."""
Masks: TypeAlias = Float[Tensor, "batch classes height width"]
"""0 or 1 in each pixel that a model sees."""

Maps: TypeAlias = Float[Tensor, "batch channels height width"]
"""Grey images, or how far masks cover each pixel: geometry treats them alike."""

_LEVELS = 4096
"""Grey levels that the training's look-up table tells apart in 16-bit images: the depth of a radiograph."""
_PIXELS_AT_ONCE = 200_000
"""Pixels that are augmented together: few enough to stay in the processor's cache."""
_SHRINK_FIRST = 1.25
"""From this ratio of stored to seen pixels on, images are low-pass filtered before they are sampled."""


class ImageTransform:
    """The transform of a run, for training and for inference; its configuration is all its state.

    Args:
        config: Strength of the augmentation, crop and normalisation.
        image_size: Side of the square result, pixels.
    """

    def __init__(self, config: AugmentConfig, image_size: int) -> None:
        self.config, self.image_size = config, image_size

    def load(self, store: Store, rows: RowNumbers, keys: Sequence[tuple[int | str, ...]] | None) -> Images:
        """Read the radiographs of some rows and vary them as `train` does, or where there are no keys as `evaluate` does.

        Args:
            store: Where they are.
            rows: Which.
            keys: What each sample's draw is keyed by; None: nothing is drawn.
        """
        pixels = [store.pixels(int(row)) for row in rows]
        return self.evaluate(pixels) if keys is None else self.train(pixels, keys)

    def evaluate(self, pixels: Sequence[Pixels]) -> Images:
        """Pad to a square, crop the centre, resize with a low-pass filter, normalise; the same for every call.

        Args:
            pixels: Images `height width`, uint8 or uint16, of any sizes.
        """
        squares = [_pad_to_square(image) for image in pixels]
        if len({(image.shape, image.dtype) for image in squares}) == 1:
            return self._normalise(self._crop_and_resize(_grey(np.stack(squares))))
        return self._normalise(torch.cat([self._crop_and_resize(_grey(image[None])) for image in squares]))

    def evaluate_masks(self, masks: Sequence[MaskStack]) -> Masks:
        """Bring masks to what `evaluate` makes of their images: the same square, crop and size, so the crop cuts them off, too.

        Args:
            masks: `classes height width` each, of the images' sizes.
        """
        squares = [torch.from_numpy(np.stack([_pad_to_square(mask) for mask in stack]).astype(np.float32)) for stack in masks]
        return torch.cat([_inside(self._crop_and_resize(stack[None])) for stack in squares])

    def train_with_masks(
        self, pixels: Sequence[Pixels], masks: Sequence[MaskStack], keys: Sequence[tuple[int | str, ...]]
    ) -> tuple[Images, Masks]:
        """Vary images as `train` does, and their masks with the same geometry; what is blanked keeps its mask.

        Args:
            pixels: Square images of one size and type, uint8 or uint16.
            masks: `classes height width` each, of the images' size.
            keys: What each sample's draw is keyed by.

        Raises:
            ValueError: A mask is not of its image's size.
        """
        for image, stack in zip(pixels, masks, strict=True):
            if stack.shape[1:] != image.shape:
                raise ValueError(f"masks of {stack.shape[1:]} for an image of {image.shape} pixels")
        moved = [
            _inside(self._move(torch.from_numpy(stack[None].astype(np.float32)), self._draw([key])))
            for stack, key in zip(masks, keys, strict=True)
        ]
        return self.train(pixels, keys), torch.cat(moved)

    def train(self, pixels: Sequence[Pixels], keys: Sequence[tuple[int | str, ...]]) -> Images:
        """Vary brightness, contrast, gamma, rotation, shift and scale, perhaps blank a rectangle, normalise.

        A sample's draw depends on its key alone, never on the batch it is in.

        Args:
            pixels: Square images of one size and type, uint8 or uint16.
            keys: What each sample's draw is keyed by: seed, epoch, sample id.
        """
        images = torch.empty(len(pixels), 1, self.image_size, self.image_size)
        at_once = max(_PIXELS_AT_ONCE // self.image_size**2, 1)
        for start in range(0, len(pixels), at_once):
            rows = slice(start, start + at_once)
            images[rows] = self._vary(np.stack(pixels[rows]), keys[rows])
        return images

    def affine(self, keys: Sequence[tuple[int | str, ...]]) -> Float[np.ndarray, "batch 4"]:
        """Return the geometry of the samples' draws: a, b, right and down.

        Training shows at (x, y) what is stored at (a x - b y + right, b x + a y + down), both in coordinates from -1 to 1,
        columns first, over the image that is shown or stored.
        """
        return self._draw(keys).affine

    def _draw(self, keys: Sequence[tuple[int | str, ...]]) -> _Draws:
        return _Draws(self.config, np.stack([keyed_uniforms(_Draws.PER_SAMPLE, *key, "augment") for key in keys]))

    def _vary(self, pixels: Pixels, keys: Sequence[tuple[int | str, ...]]) -> Images:
        draws = self._draw(keys)
        images = self._move(_look_up(pixels, draws), draws)
        draws.erase(images)
        return self._normalise(images)

    def _move(self, images: Maps, draws: _Draws) -> Maps:
        """Rotate, scale, shift and crop, with a low-pass filter before where pixels are left out."""
        if images.shape[-1] * self.config.crop > _SHRINK_FIRST * self.image_size:
            side = round(self.image_size / self.config.crop)
            images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        return F.grid_sample(images, self._grid(draws), mode="bilinear", padding_mode="zeros", align_corners=False)

    def _crop_and_resize(self, images: Maps) -> Maps:
        side = images.shape[-1]
        kept = max(round(side * self.config.crop), 1)
        start = (side - kept) // 2
        images = images[..., start : start + kept, start : start + kept]
        if kept == self.image_size:
            return images
        return F.interpolate(images, (self.image_size, self.image_size), mode="bilinear", antialias=True)

    def _grid(self, draws: _Draws) -> Float[Tensor, "batch height width 2"]:
        """Return where each result pixel is sampled, in coordinates from -1 to 1 over the stored image."""
        along = (torch.arange(self.image_size, dtype=torch.float32) * 2 + 1) / self.image_size - 1
        x, y = along.view(1, 1, -1), along.view(1, -1, 1)
        a, b, right, down = torch.from_numpy(draws.affine)[:, :, None, None].unbind(1)
        grid = torch.empty(len(draws.affine), self.image_size, self.image_size, 2)
        grid[..., 0] = a * x + (right - b * y)
        grid[..., 1] = b * x + (a * y + down)
        return grid

    def _normalise(self, images: GreyImages) -> Images:
        return images.sub(self.config.mean).mul_(1 / self.config.std)


class _Draws:
    """The random choices of a batch.

    Args:
        config: Strength of the augmentation.
        uniforms: `batch 12`, from [0, 1).
    """

    PER_SAMPLE = 12

    def __init__(self, config: AugmentConfig, uniforms: Float[np.ndarray, "batch 12"]) -> None:
        turn, scale, right, down, brightness, contrast, power, erase, area, aspect, row, column = uniforms.T
        angle = np.deg2rad(config.rotation) * (2 * turn - 1)
        zoom = config.crop / (config.scale[0] + (config.scale[1] - config.scale[0]) * scale)
        shifts = [2 * config.translation * (2 * share - 1) for share in (right, down)]
        self.affine = np.stack([zoom * np.cos(angle), zoom * np.sin(angle), *shifts], axis=1).astype(np.float32)
        self.brightness = config.brightness * (2 * brightness - 1)
        self.contrast = 1 + config.contrast * (2 * contrast - 1)
        self.power = (1 + config.gamma) ** (2 * power - 1)
        self.erased = erase < config.erasing
        share, ratio = 0.02 + 0.18 * area, 2 ** (2 * aspect - 1)
        height, width = np.sqrt(share * ratio), np.sqrt(share / ratio)
        self.boxes = np.stack([row * (1 - height), column * (1 - width), height, width], axis=1)

    def tones(self, levels: int) -> Float[np.ndarray, "batch levels"]:
        """Return, per sample, the new grey value (0 to 1) of every old one."""
        power, contrast, brightness = (v.astype(np.float32)[:, None] for v in (self.power, self.contrast, self.brightness))
        grey = np.linspace(0, 1, levels, dtype=np.float32) ** power
        new: Float[np.ndarray, "batch levels"] = np.clip(
            (grey - np.float32(0.5)) * contrast + (np.float32(0.5) + brightness), 0, 1
        )
        return new

    def erase(self, images: GreyImages) -> None:
        """Paint a rectangle of 2 to 20 % of the area in mid-grey, where one was drawn (Zhong et al. 2020)."""
        side = images.shape[-1]
        for number in np.flatnonzero(self.erased):
            top, left, height, width = (round(float(part) * side) for part in self.boxes[number])
            images[number, :, top : top + height, left : left + width] = 0.5


def _look_up(pixels: Pixels, draws: _Draws) -> GreyImages:
    """Apply each sample's tone curve; a table of all levels costs less than arithmetic on all pixels."""
    if pixels.dtype == np.uint8:
        levels, indices = 256, torch.from_numpy(pixels)
    else:
        levels, indices = _LEVELS, torch.from_numpy((pixels >> 4).astype(np.int16))
    tables = torch.from_numpy(draws.tones(levels))
    return torch.gather(tables, 1, indices.flatten(1).long()).view(len(pixels), 1, *pixels.shape[1:])


def _grey(pixels: Pixels) -> GreyImages:
    """Scale whole numbers to the range 0 to 1."""
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max))[:, None]


def _inside(coverage: Masks) -> Masks:
    """Turn coverage into a mask: half or more is inside; a structure too thin for that keeps the pixels it covers most.

    That is the rule by which a store makes its masks smaller (`fit_mask`), so no finding that is in view vanishes.
    """
    most = coverage.amax(dim=(2, 3), keepdim=True)
    return ((coverage >= (most / 2).clamp(max=0.5)) & (coverage > 0)).float()


def _pad_to_square(image: Pixels) -> Pixels:
    """Add black on both sides of the shorter axis."""
    height, width = image.shape
    side = max(height, width)
    if height == width:
        return image
    top, left = (side - height) // 2, (side - width) // 2
    padded = np.zeros((side, side), image.dtype)
    padded[top : top + height, left : left + width] = image
    return padded
