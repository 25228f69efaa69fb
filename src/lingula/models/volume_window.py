"""Sliding windows: a volume larger than what an encoder is used to, encoded piece by piece into one grid of tokens."""

from __future__ import annotations

from itertools import product

from lingula.core.errors import UserError
from lingula.core.types import VolumeGrid, Volumes
from lingula.models.volume_config import check_divisible
from lingula.models.volume_encoder import VolumeEncoder


def encode_windows(encoder: VolumeEncoder, volumes: Volumes, window: int | tuple[int, int, int]) -> VolumeGrid:
    """Encode windows that do not overlap, each for itself, and put their tokens where they belong.

    Where the window does not divide the volume, the last window of an axis ends at the volume's end and its tokens replace
    those of the one before (as in colipri 0.1.3, through TorchIO's grid sampler).

    Args:
        encoder: What encodes a window.
        volumes: Whole volumes.
        window: Voxels of a window, for all axes or along x, y and z.

    Raises:
        UserError: The window is larger than the volume, or volume or window are not multiples of the patch.
    """
    sides = (window,) * 3 if isinstance(window, int) else tuple(window)
    if len(sides) != 3:
        raise UserError(f"a window has 3 sides, not {len(sides)}", "Give one number, or one each for x, y and z.")
    grid, patch = encoder.grid(volumes), encoder.config.patch
    check_divisible(sides, patch, "a window")
    size = tuple(volumes.shape[2:])
    if any(side > length for side, length in zip(sides, size, strict=True)):
        shown, whole = "x".join(map(str, sides)), "x".join(map(str, size))
        problem = f"a window of {shown} voxels is larger than the volume of {whole}"
        raise UserError(problem, "Give no window, so that the volume is encoded whole.")
    tokens: VolumeGrid | None = None
    for corner in product(*(_starts(length, side) for length, side in zip(size, sides, strict=True))):
        x, y, z = (slice(start, start + side) for start, side in zip(corner, sides, strict=True))
        encoded = encoder(volumes[:, :, x, y, z])
        if tokens is None:
            tokens = encoded.new_zeros(*encoded.shape[:2], *grid)
        i, j, k = (slice(part.start // step, part.stop // step) for part, step in zip((x, y, z), patch, strict=True))
        tokens[:, :, i, j, k] = encoded
    assert tokens is not None
    return tokens


def _starts(length: int, side: int) -> list[int]:
    """Where windows begin along an axis; the last one ends at the end."""
    starts = list(range(0, length - side + 1, side))
    return starts if starts[-1] == length - side else [*starts, length - side]
