"""CT volumes brought to the declared grid and written one file each."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from lingula.core.errors import UserError
from lingula.data.prepare_config import VolumeStoringConfig
from lingula.data.readers import UnreadableImage
from lingula.data.shelf import Problem, Record, Shelf, region_record
from lingula.data.store_schema import VOLUME_INDEX_SCHEMA, VOLUMES_FOLDER
from lingula.data.study import Picture, Scan, Study
from lingula.data.volume_reader import Volume
from lingula.data.volume_storing import VolumeStoring
from lingula.data.voxel_files import write_masks, write_voxels


class VolumeShelf(Shelf):
    """The CT volumes of one shard; each is written when it comes, so that one at a time is in memory.

    Args:
        folder: Where the shard is written.
        settings: What is done to a volume before it is stored.
    """

    schema: ClassVar[pa.Schema] = VOLUME_INDEX_SCHEMA

    def __init__(self, folder: Path, settings: VolumeStoringConfig) -> None:
        super().__init__(folder)
        self._storing = VolumeStoring(settings)
        self._files: list[str] = []
        (folder / VOLUMES_FOLDER).mkdir()

    def add(self, study: Study, number: int, image: Picture | Scan) -> list[Problem]:
        """Bring one volume to the declared grid and write it; see `Shelf.add`."""
        if isinstance(image, Picture):
            raise UnreadableImage("a radiograph is no CT volume")
        boxes = [region for region in study.regions if region.image_index == number and region.mask is None]
        try:
            stored = self._storing.scan(image, boxes)
        except UserError as error:
            raise UnreadableImage(str(error)) from None
        voxels, masks = stored.volume.voxels, [mask for mask in stored.masks if mask is not None]
        self._write(voxels, masks)
        layers = np.cumsum([mask is not None for mask in stored.masks]) - 1
        regions = [
            region_record(region, region.box, None if mask is None else int(layer))
            for region, mask, layer in zip(stored.regions, stored.masks, layers, strict=True)
        ]
        self._keep(study, number, regions, _geometry(image.volume, stored.volume), voxels_sha256(voxels))
        path = study.images[number].path
        return [(where or path, reason) for where, reason in stored.problems]

    def close(self) -> list[str]:
        """Name the files; they are written."""
        return self._files

    def _write(self, voxels: np.ndarray, masks: list[np.ndarray]) -> None:
        names = volume_files(len(self.records))
        write_voxels(self.folder / names[0], voxels)
        self._files.append(names[0])
        if masks:
            write_masks(self.folder / names[1], np.stack(masks))
            self._files.append(names[1])


def volume_files(row: int) -> tuple[str, str]:
    """Return the files of voxels and masks of a shard's row, relative to the shard.

    >>> volume_files(3)
    ('volumes/00003.b2nd', 'volumes/00003.masks.b2nd')
    """
    return f"{VOLUMES_FOLDER}/{row:05d}.b2nd", f"{VOLUMES_FOLDER}/{row:05d}.masks.b2nd"


def voxels_sha256(voxels: np.ndarray) -> str:
    """Return the hash of stored voxels, which depends on their shape, too."""
    return hashlib.sha256(f"{voxels.shape}".encode() + np.ascontiguousarray(voxels).tobytes()).hexdigest()


def _geometry(read: Volume, stored: Volume) -> Record:
    from nibabel import aff2axcodes

    return {
        "shape": list(stored.voxels.shape),
        "spacing": stored.spacing.tolist(),
        "affine": np.asarray(stored.affine, np.float64).ravel().tolist(),
        "hu_min": int(stored.voxels.min()),
        "hu_max": int(stored.voxels.max()),
        "source_shape": list(read.voxels.shape),
        "source_spacing": read.spacing.tolist(),
        "source_orientation": "".join(aff2axcodes(read.affine)),
    }
