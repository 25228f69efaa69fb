"""CT volumes that lie in no store, for what reads stores: a trained model meets new volumes as it met those of its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from lingula.core.types import VoxelsHU
from lingula.data.volume_reader import Volume


class ReadableVolumes(Protocol):
    """What crops are read from: a `VolumeStore`, or `VolumesInMemory`."""

    def shape(self, row: int) -> tuple[int, int, int]:
        """Return how many voxels a volume has along x, y and z."""
        ...

    def crop(self, row: int, start: Sequence[int], size: Sequence[int]) -> VoxelsHU:
        """Return a part of a volume, `x y z`, int16 HU."""
        ...

    def column(self, name: str) -> list[Any]:
        """Return what is known of each volume, at least its lowest value (`hu_min`)."""
        ...


class VolumesInMemory:
    """Volumes as a store would hold them.

    Args:
        volumes: What `VolumeStoring` made of each.
    """

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self._volumes = list(volumes)
        self._columns = {"hu_min": [int(volume.voxels.min()) for volume in self._volumes]}

    def __len__(self) -> int:
        return len(self._volumes)

    def shape(self, row: int) -> tuple[int, int, int]:
        """Return how many voxels a volume has along x, y and z."""
        x, y, z = self._volumes[row].voxels.shape
        return x, y, z

    def crop(self, row: int, start: Sequence[int], size: Sequence[int]) -> VoxelsHU:
        """Return a part of a volume, `x y z`, int16 HU."""
        x, y, z = (slice(first, first + side) for first, side in zip(start, size, strict=True))
        return np.asarray(self._volumes[row].voxels[x, y, z])

    def column(self, name: str) -> list[Any]:
        """Return the lowest value of each volume (`hu_min`)."""
        return self._columns[name]
