"""From stored CT volumes to crops in [-1, 1]: at random for training, fixed for evaluation; no volume is decoded whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lingula.core.errors import UserError
from lingula.core.randomness import keyed_uniforms
from lingula.core.types import RowNumbers, VolumeMask, Volumes
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_store import VolumeStore
from lingula.data.volumes_in_memory import ReadableVolumes

Key: TypeAlias = tuple[int | str, ...]
Numbers: TypeAlias = NDArray[np.int64]
DRAWS = 8
"""Numbers per sample: three for the place, three for the mirrors, one each for shift and contrast."""


class VolumeCrop:
    """The crops of a run, for training and for evaluation; its configuration is all its state.

    Args:
        config: Size, range and variation.
    """

    def __init__(self, config: VolumeCropConfig | None = None) -> None:
        self.config = config or VolumeCropConfig()

    def load(self, store: ReadableVolumes, rows: RowNumbers | Sequence[int], keys: Sequence[Key] | None) -> Volumes:
        """Read one crop per row, `batch 1 x y z`, float32 in [-1, 1].

        Args:
            store: Where the volumes are.
            rows: Which.
            keys: What each sample's draw is keyed by (seed, epoch, sample id), for training; None: as evaluation sees them.

        Raises:
            UserError: A file is damaged, or whole volumes of different shapes cannot be one batch.
        """
        numbers = [int(row) for row in rows]
        if keys is None:
            return self._stack([self._seen(store, row, *self._fixed(store.shape(row))) for row in numbers])
        return self._stack([self._varied(store, row, key) for row, key in zip(numbers, keys, strict=True)])

    def train(self, store: VolumeStore, rows: RowNumbers | Sequence[int], keys: Sequence[Key]) -> Volumes:
        """Read random crops, perhaps mirrored, shifted and stretched in their values; a draw depends on its key alone."""
        return self.load(store, rows, keys)

    def evaluate(self, store: VolumeStore, rows: RowNumbers | Sequence[int]) -> Volumes:
        """Read the crops in the middle, or whole volumes, the same for every call."""
        return self.load(store, rows, None)

    def mask(self, store: VolumeStore, row: int, region: int, key: Key | None = None) -> VolumeMask | None:
        """Return the mask of a region as `load` shows its volume, `x y z`: same place, padding (empty) and mirrors.

        Args:
            store: Where the volume is.
            row: Which.
            region: Number of the region in `store.regions(row)`.
            key: What the sample's draw is keyed by, for training; None: as evaluation sees it.

        Returns:
            None where the region is only a box.
        """
        place = self._fixed(store.shape(row)) if key is None else self._placed(store.shape(row), _draw(key))
        return self.mask_at(store, row, region, *place, key)

    def read_at(
        self, store: VolumeStore, row: int, start: Sequence[int] | Numbers, size: tuple[int, int, int], key: Key | None = None
    ) -> Float[np.ndarray, "x y z"]:
        """Read a crop of a chosen place, float32 in [-1, 1]; what lies beyond the volume is padded.

        Args:
            store: Where the volume is.
            row: Which.
            start: First voxel of the crop, in voxels of the volume; may lie before it.
            size: Voxels along x, y and z.
            key: What mirrors, shift and contrast are drawn by, for training; None: the values as they are.
        """
        draw = _draw(key) if key is not None else None
        crop = self._seen(store, row, np.asarray(start, np.int64), size, draw)
        return crop if draw is None else np.ascontiguousarray(self._mirrored(crop, draw))

    def mask_at(
        self,
        store: VolumeStore,
        row: int,
        region: int,
        start: Sequence[int] | Numbers,
        size: tuple[int, int, int],
        key: Key | None = None,
    ) -> VolumeMask | None:
        """Return the mask of a region as `read_at` shows its volume, `x y z`: same place, padding (empty) and mirrors.

        Returns:
            None where the region is only a box.
        """
        inside, first, within = _within(np.asarray(start, np.int64), size, store.shape(row))
        found = store.mask(row, region, first.tolist(), within.tolist())
        if found is None:
            return None
        seen = np.zeros(size, bool)
        seen[inside] = found
        return seen if key is None else np.ascontiguousarray(self._mirrored(seen, _draw(key)))

    def _varied(self, store: ReadableVolumes, row: int, key: Key) -> Float[np.ndarray, "x y z"]:
        draw = _draw(key)
        crop = self._seen(store, row, *self._placed(store.shape(row), draw), draw)
        return np.ascontiguousarray(self._mirrored(crop, draw))

    def _placed(self, there: tuple[int, ...], draw: NDArray[np.float64]) -> tuple[Numbers, tuple[int, int, int]]:
        """Draw where the crop begins, every allowed place alike; along an axis that is too short the volume is in the middle."""
        shape, spread = self.config.shape, self.config.spread
        room = np.array(there, np.int64) - np.array(shape, np.int64)
        middle, room = _middle(room), np.maximum(room, 0)
        before, behind = np.rint(spread * middle), np.rint(spread * (room - middle))
        start = middle - before + np.floor(draw[:3] * (before + behind + 1))
        return np.where(room > 0, start, middle).astype(np.int64), shape

    def shape_of(self, there: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return what evaluation makes of a volume of this shape, voxels along x, y and z."""
        if self.config.evaluation != "whole":
            return self.config.shape
        multiple = self.config.whole_multiple
        x, y, z = (-(-side // multiple) * multiple for side in there)
        return x, y, z

    def _fixed(self, there: tuple[int, int, int]) -> tuple[Numbers, tuple[int, int, int]]:
        shape = self.shape_of(there)
        return _middle(np.array(there, np.int64) - np.array(shape, np.int64)), shape

    def _seen(
        self,
        store: ReadableVolumes,
        row: int,
        start: Numbers,
        shape: tuple[int, int, int],
        draw: NDArray[np.float64] | None = None,
    ) -> Float[np.ndarray, "x y z"]:
        """Read a crop, pad it with the volume's minimum and bring its values to [-1, 1]."""
        inside, first, size = _within(start, shape, store.shape(row))
        read = store.crop(row, first.tolist(), size.tolist()).astype(np.float32)
        if read.shape == shape:
            crop = read
        else:
            crop = np.full(shape, store.column("hu_min")[row], np.float32)
            crop[inside] = read
        if draw is not None:
            crop *= np.float32(1 + self.config.contrast * (2 * draw[7] - 1))
            crop += np.float32(self.config.shift * (2 * draw[6] - 1))
        low, high = self.config.hu_range
        np.clip(crop, np.float32(low), np.float32(high), out=crop)
        crop -= np.float32((low + high) / 2)
        crop *= np.float32(2 / (high - low))
        return crop

    def _mirrored(self, values: np.ndarray, draw: NDArray[np.float64]) -> np.ndarray:
        axes = tuple(axis for axis in range(3) if draw[3 + axis] < self.config.flip[axis])
        return np.flip(values, axes)

    def _stack(self, crops: list[Float[np.ndarray, "x y z"]]) -> Tensor:
        shapes = sorted({crop.shape for crop in crops})
        if len(shapes) != 1:
            problem = f"whole volumes of {len(shapes)} different shapes cannot be one batch ({shapes[0]}, {shapes[-1]})"
            raise UserError(problem, "Take them one by one, or the crop in the middle (evaluation: centre).")
        return torch.from_numpy(np.stack(crops))[:, None]


def _draw(key: Key) -> NDArray[np.float64]:
    return keyed_uniforms(DRAWS, *key, "crop")


def _middle(room: Numbers) -> Numbers:
    """Return where a crop in the middle begins; of an odd difference the start takes more, as in `VolumeTransform`."""
    begin: Numbers = np.sign(room) * -(-np.abs(room) // 2)
    return begin


def _within(
    start: Numbers, shape: tuple[int, int, int], there: tuple[int, int, int]
) -> tuple[tuple[slice, slice, slice], Numbers, Numbers]:
    """Return which part of a crop lies in its volume, the first voxel of that part in the volume, and its size."""
    first, last = np.maximum(start, 0), np.minimum(start + np.array(shape), there)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(first - start, last - start, strict=True))
    return (x, y, z), first, last - first
