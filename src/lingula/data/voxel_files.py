"""Voxels in blosc2 files: compressed in small chunks, so that a crop costs what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Voxels along each side of what is decompressed at once: 64 KiB of int16."""
CHUNK = 128
"""Voxels along each side of a chunk: 4 MiB of int16; 6 MiB is the largest that is practice."""


def write_voxels(path: Path, voxels: NDArray[np.int16]) -> None:
    """Write voxels, `x y z`, with LZ4; the same voxels give the same bytes."""
    import blosc2

    _write(path, voxels, [_chunk(side) for side in voxels.shape], [BLOCK] * 3, blosc2.Codec.LZ4)


def write_masks(path: Path, masks: NDArray[np.bool_]) -> None:
    """Write masks, `masks x y z`, one byte per voxel, with Zstandard: nearly all of it is the same."""
    import blosc2

    sides = masks.shape[1:]
    _write(path, masks.view(np.uint8), [1, *map(_chunk, sides)], [1, *[BLOCK] * 3], blosc2.Codec.ZSTD)


def open_voxels(path: Path) -> Any:
    """Open a file of voxels or masks; slices of it are numpy arrays, read and decompressed when they are taken.

    Raises:
        OSError, RuntimeError, ValueError: The file is missing or damaged.
    """
    import blosc2

    return blosc2.open(str(path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))


def _chunk(side: int) -> int:
    """Return a chunk's side: whole blocks, and no more than hold the volume."""
    return min(CHUNK, -(-side // BLOCK) * BLOCK)


def _write(path: Path, values: np.ndarray, chunks: list[int], blocks: list[int], codec: Any) -> None:
    import blosc2

    size = values.dtype.itemsize
    cparams = blosc2.CParams(codec=codec, clevel=5, filters=[blosc2.Filter.SHUFFLE], typesize=size, nthreads=1)
    sides = [min(part, whole) for part, whole in zip(chunks, values.shape, strict=True)]
    parts = [min(part, whole) for part, whole in zip(blocks, sides, strict=True)]
    values = np.ascontiguousarray(values)
    blosc2.asarray(values, chunks=sides, blocks=parts, cparams=cparams, urlpath=str(path), contiguous=True, mode="w")
