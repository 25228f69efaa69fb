"""Decoders of volumes: from the grid of tokens back to the voxels, with or without the voxels beside it."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.patches import volumes_of
from lingula.core.types import VolumeGrid, Volumes

Step = tuple[int, int, int]


def up_steps(patch: Step) -> list[Step]:
    """Return by how much each step enlarges x, y and z on the way from patches to voxels: the smallest primes first.

    >>> up_steps((8, 4, 1))
    [(2, 2, 1), (2, 2, 1), (2, 1, 1)]
    """
    left, steps = patch, []
    while max(left) > 1:
        step = tuple(_smallest_prime(side) for side in left)
        steps.append((step[0], step[1], step[2]))
        left = (left[0] // step[0], left[1] // step[1], left[2] // step[2])
    return steps


class LinearVolumeDecoder(nn.Module):
    """One matrix from each token to the voxels of its patch: what the tokens say without a decoder's help.

    The linear probe of dense features (DINOv2, arXiv 2304.07193), but with a class per voxel instead of one per token that is
    enlarged, since a patch of a volume is larger than many findings (ours).

    Args:
        features: Features of a token.
        classes: Maps that come out.
        patch: Voxels of a patch along x, y and z.
    """

    def __init__(self, features: int, classes: int, patch: Step) -> None:
        super().__init__()
        self.patch = patch
        self.head = nn.Linear(features, classes * math.prod(patch))

    def forward(self, volumes: Volumes, tokens: VolumeGrid) -> Float[Tensor, "batch classes x y z"]:
        """Return logits of the volumes' size.

        Args:
            volumes: Not used.
            tokens: `batch features x y z`, on the grid of patches.
        """
        x, y, z = tokens.shape[2:]
        return volumes_of(self.head(tokens.flatten(2).mT), (x, y, z), self.patch)


class LightVolumeDecoder(nn.Module):
    """Transposed convolutions, each with norm and GELU, and a convolution to the classes: the kind of Primus (arXiv 2503.01835).

    Args:
        features: Features of a token.
        classes: Maps that come out.
        patch: Voxels of a patch along x, y and z.
        width: Channels at the size of the voxels; twice as many at each coarser step (ours).
    """

    def __init__(self, features: int, classes: int, patch: Step, width: int) -> None:
        super().__init__()
        steps, widths = up_steps(patch), _widths(features, patch, width)
        self.blocks = nn.Sequential(*(_enlarge(a, b, step) for (a, b), step in zip(pairwise(widths), steps, strict=True)))
        self.head = nn.Conv3d(widths[-1], classes, 1)

    def forward(self, volumes: Volumes, tokens: VolumeGrid) -> Float[Tensor, "batch classes x y z"]:
        """Return logits of the volumes' size.

        Args:
            volumes: Not used.
            tokens: `batch features x y z`, on the grid of patches.
        """
        logits: Tensor = self.head(self.blocks(tokens))
        return logits


class UnetVolumeDecoder(nn.Module):
    """The same with a path of convolutions from the voxels, whose levels join at every step: the skips of a U-Net.

    As in UNETR (arXiv 2103.10504) convolutions of the image stand beside the transformer; unlike there only its last tokens are
    used, not those of earlier blocks.

    Args:
        features: Features of a token.
        classes: Maps that come out.
        patch: Voxels of a patch along x, y and z.
        width: Channels at the size of the voxels; twice as many at each coarser step (ours).
        channels: Channels of the volumes.
    """

    def __init__(self, features: int, classes: int, patch: Step, width: int, channels: int = 1) -> None:
        super().__init__()
        steps, widths = up_steps(patch), _widths(features, patch, width)
        fine = widths[1:][::-1] or [widths[0]]
        self.stem = _convolve(channels, fine[0])
        self.down = nn.ModuleList(_convolve(a, b, step) for (a, b), step in zip(pairwise(fine), steps[:0:-1], strict=True))
        self.up = nn.ModuleList(_enlarge(a, b, step) for (a, b), step in zip(pairwise(widths), steps, strict=True))
        self.join = nn.ModuleList(_convolve(2 * width, width) for width in widths[1:])
        self.head = nn.Conv3d(widths[-1] if steps else 2 * widths[0], classes, 1)

    def forward(self, volumes: Volumes, tokens: VolumeGrid) -> Float[Tensor, "batch classes x y z"]:
        """Return logits of the volumes' size.

        Args:
            volumes: `batch channels x y z`.
            tokens: `batch features x y z`, on the grid of patches.
        """
        levels = [self.stem(volumes)]
        for down in self.down:
            levels.append(down(levels[-1]))
        if not self.up:
            tokens = torch.cat([tokens, levels[0]], dim=1)
        for up, join, level in zip(self.up, self.join, reversed(levels[: len(self.up)]), strict=True):
            tokens = join(torch.cat([up(tokens), level], dim=1))
        logits: Tensor = self.head(tokens)
        return logits


def _widths(features: int, patch: Step, width: int) -> list[int]:
    """Channels of the tokens and after each step."""
    count = len(up_steps(patch))
    return [features, *(width * 2 ** (count - 1 - number) for number in range(count))]


def _enlarge(before: int, after: int, step: Step) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose3d(before, after, step, step), nn.InstanceNorm3d(after, affine=True), nn.GELU())


def _convolve(before: int, after: int, step: Step = (1, 1, 1)) -> nn.Module:
    layer = nn.Conv3d(before, after, 3, step, padding=1)
    return nn.Sequential(layer, nn.InstanceNorm3d(after, affine=True), nn.GELU())


def _smallest_prime(number: int) -> int:
    return next((factor for factor in range(2, number + 1) if number % factor == 0), 1)
