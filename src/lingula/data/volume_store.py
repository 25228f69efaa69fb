"""The store of CT volumes: crops are read without decoding the volume."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from lingula.core.errors import UserError
from lingula.core.types import VolumeMask, VoxelsHU
from lingula.data.prepare_config import VolumeStoringConfig
from lingula.data.store_schema import Kind, StoredVolumeRegion
from lingula.data.store_table import StoreTable
from lingula.data.volume_reader import Volume
from lingula.data.volume_shelf import volume_files, voxels_sha256
from lingula.data.voxel_files import open_voxels

OPEN_FILES = 256
"""Files kept open at a time."""
Sides = tuple[int, int, int]


class VolumeStore(StoreTable):
    """One row per good CT volume: voxels in Hounsfield units, text, labels, regions and everything else that is known.

    Open it with `VolumeStore.open`. A store is cheap to pickle (its path travels, not its content).
    """

    kind: ClassVar[Kind] = "volumes"

    def __init__(self, *content: Any) -> None:
        super().__init__(*content)
        settings = self.about["settings"]
        self.storing = VolumeStoringConfig(**{name: settings[name] for name in VolumeStoringConfig.model_fields})
        self._files: OrderedDict[str, Any] = OrderedDict()

    def __repr__(self) -> str:
        return f"VolumeStore({str(self.path)!r}, {len(self)} volumes)"

    def shape(self, row: int) -> Sides:
        """Return how many voxels a volume has along x, y and z."""
        x, y, z = self.column("shape")[self._checked(row)]
        return x, y, z

    def spacing(self, row: int) -> tuple[float, float, float]:
        """Return the voxel size of a volume along x, y and z, mm."""
        x, y, z = self.column("spacing")[self._checked(row)]
        return x, y, z

    def affine(self, row: int) -> Float[np.ndarray, "4 4"]:
        """Return what maps the voxel indices of a volume to mm, RAS+."""
        return np.array(self.column("affine")[self._checked(row)], np.float64).reshape(4, 4)

    def volume(self, row: int) -> Volume:
        """Return a whole volume, int16 HU, with its affine.

        Raises:
            UserError: Its file is damaged.
        """
        return Volume(self.crop(row, (0, 0, 0), self.shape(row)), self.affine(row))

    def crop(self, row: int, start: Sequence[int], size: Sequence[int]) -> VoxelsHU:
        """Return a part of a volume, `x y z`, int16 HU; only what it touches is read and decompressed.

        Args:
            row: Row number.
            start: First voxel along x, y and z.
            size: Voxels along x, y and z.

        Raises:
            ValueError: The crop is empty or reaches beyond the volume.
            UserError: The volume's file is damaged.
        """
        return np.asarray(self._read(row, 0, self._within(row, start, size)))

    def regions(self, row: int) -> list[StoredVolumeRegion]:
        """Return the regions of one volume, boxes in stored voxels."""
        return [
            StoredVolumeRegion(
                finding=region["finding"],
                box=(region["x1"], region["y1"], region["z1"], region["x2"], region["y2"], region["z2"]),
                has_mask=region["mask"] is not None,
                kind=region["kind"],
                phrase=region["phrase"],
                sentence_index=region["sentence_index"],
            )
            for region in self.column("regions")[self._checked(row)]
        ]

    def mask(
        self, row: int, region: int, start: Sequence[int] | None = None, size: Sequence[int] | None = None
    ) -> VolumeMask | None:
        """Return the mask of one region of one volume, or of a crop of it, `x y z`, or None where it is only a box.

        Args:
            row: Row number.
            region: Number of the region in `regions(row)`.
            start: First voxel of the crop; None: of the volume.
            size: Voxels of the crop; None: all of the volume.

        Raises:
            ValueError: The crop is empty or reaches beyond the volume.
            UserError: The file of masks is damaged.
        """
        layer = self.column("regions")[self._checked(row)][region]["mask"]
        if layer is None:
            return None
        part = self._within(row, (0, 0, 0) if start is None else start, self.shape(row) if size is None else size)
        mask: VolumeMask = self._read(row, 1, (slice(layer, layer + 1), *part))[0].astype(bool)
        return mask

    def summary(self) -> str:
        """Say what the store holds, in a few words."""
        spacing = self.storing.spacing
        voxels = "as they came" if spacing is None else f"of {' x '.join(f'{side:g}' for side in np.atleast_1d(spacing))} mm"
        return f"{len(self)} CT volumes, {self.storing.orientation}, voxels {voxels}, int16 HU"

    def sizes(self) -> dict[str, np.ndarray]:
        """Return spacing of each volume as it was read, extent and range of values of the stored one."""
        read = np.array(self.column("source_spacing"), float)
        extent = np.array(self.column("spacing"), float) * np.array(self.column("shape"), float)
        return {
            "finest spacing, mm": read.min(axis=1),
            "coarsest spacing, mm": read.max(axis=1),
            **{f"extent along {axis}, mm": extent[:, number] for number, axis in enumerate("xyz")},
            "lowest value, HU": np.array(self.column("hu_min"), float),
            "highest value, HU": np.array(self.column("hu_max"), float),
        }

    def content_sha256(self, row: int) -> str:
        """Return the hash of the stored voxels, computed anew.

        Raises:
            UserError: Their file is damaged.
        """
        return voxels_sha256(self.crop(row, (0, 0, 0), self.shape(row)))

    def is_constant(self, row: int) -> bool:
        """Whether all voxels of a volume have one value."""
        return bool(self.column("hu_min")[row] == self.column("hu_max")[row])

    def _within(self, row: int, start: Sequence[int], size: Sequence[int]) -> tuple[slice, slice, slice]:
        first, sides, shape = (np.array(each, int) for each in (start, size, self.shape(row)))
        if (first < 0).any() or (sides < 1).any() or (first + sides > shape).any():
            wanted, there = f"{sides.tolist()} voxels from {first.tolist()}", f"{shape.tolist()} voxels"
            raise ValueError(f"a crop of {wanted} is not within a volume of {there}")
        x, y, z = (slice(begin, begin + side) for begin, side in zip(first.tolist(), sides.tolist(), strict=True))
        return x, y, z

    def _read(self, row: int, which: int, part: tuple[slice, ...]) -> np.ndarray:
        shard, number = self._shard_of(row)
        file = self._shard_folder(shard) / volume_files(number)[which]
        key = f"{shard}/{number}/{which}"
        try:
            if key not in self._files:
                self._files[key] = open_voxels(file)
            self._files.move_to_end(key)
            values: np.ndarray = self._files[key][part]
        except (OSError, RuntimeError, ValueError) as error:
            self._files.pop(key, None)
            raise UserError(f"{file} is damaged ({error})", "Prepare the store anew with --overwrite.") from None
        if len(self._files) > OPEN_FILES:
            self._files.popitem(last=False)
        return values
