"""The declared way of a CT volume into a model: orientation, spacing, Hounsfield range, size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lingula.core.errors import UserError
from lingula.core.types import Volumes
from lingula.data.hounsfield import check_hounsfield
from lingula.data.volume_grid import orient, resample
from lingula.data.volume_reader import Volume, check_same_grid, read_volume
from lingula.data.volume_transform_config import VolumeTransformConfig


class VolumeTransform:
    """Reorient, resample, clamp, rescale, crop or pad; equal to the processor of colipri 0.1.3 by default.

    Args:
        config: What is done.
    """

    def __init__(self, config: VolumeTransformConfig | None = None) -> None:
        self.config = config or VolumeTransformConfig()

    def __call__(self, volume: Volume | str | Path) -> Volume:
        """Transform one volume, or the file of one.

        Returns:
            float32 voxels, by default in [-1, 1], with the affine of the new grid: what is found in it can be put back.

        Raises:
            UserError: The file cannot be read, the volume is thinner than a new voxel, or its values are no Hounsfield units.
        """
        volume = volume if isinstance(volume, Volume) else read_volume(volume)
        if self.config.check_hounsfield:
            check_hounsfield(volume.voxels)
        volume = self._rescale(resample(orient(volume, self.config.orientation), self.config.spacings))
        return self._fit(volume, volume.voxels.min())

    def mask(self, mask: Volume | str | Path, volume: Volume | str | Path) -> Volume:
        """Bring a mask to the grid that its volume is brought to: labels of the nearest voxel, 0 where there was none.

        Raises:
            UserError: A file cannot be read, or mask and volume are on different grids.
        """
        mask, volume = (given if isinstance(given, Volume) else read_volume(given) for given in (mask, volume))
        check_same_grid(volume, mask)
        return self._fit(resample(orient(mask, self.config.orientation), self.config.spacings, nearest=True), 0)

    def batch(self, volumes: Sequence[Volume | str | Path]) -> Volumes:
        """Transform volumes and stack them, `batch 1 x y z`, as a torch tensor.

        Raises:
            UserError: As above; no volume; or they come out in different shapes, because the configuration fixes no size.
        """
        import torch

        arrays = [self(volume).voxels for volume in volumes]
        shapes = sorted({array.shape for array in arrays})
        if len(shapes) != 1:
            problem = f"volumes of {len(shapes)} different shapes cannot be one batch" if shapes else "a batch of no volumes"
            raise UserError(problem, "Fix a size in the transform, or encode them one by one.")
        return torch.from_numpy(np.stack(arrays))[:, None]

    def _rescale(self, volume: Volume) -> Volume:
        voxels = volume.voxels if self.config.hu_range is None else np.clip(volume.voxels, *self.config.hu_range)
        voxels = voxels.astype(np.float32)
        for operation, number in self._scaling(voxels):
            operation(voxels, np.float32(number), out=voxels)
        return Volume(voxels, volume.affine)

    def _scaling(self, voxels: np.ndarray) -> list[tuple[np.ufunc, float]]:
        """Return what is done to every value, in this order; in float32, as the published processor does it."""
        if self.config.hu_range is None:
            spread = float(voxels.std(dtype=np.float64))
            return [(np.subtract, float(voxels.mean(dtype=np.float64))), (np.divide, spread or 1.0)]
        (low, high), (least, most) = self.config.hu_range, self.config.value_range
        return [(np.subtract, low), (np.divide, high - low), (np.multiply, most - least), (np.add, least)]

    def _fit(self, volume: Volume, padding: float) -> Volume:
        """Pad, then crop, both about the centre; of an odd difference the start takes more."""
        shape = self.config.shape
        if shape is None or shape == volume.voxels.shape:
            return volume
        difference = np.array(shape) - volume.voxels.shape
        added, removed = np.maximum(difference, 0), np.maximum(-difference, 0)
        sides = [(-(-count // 2), count // 2) for count in added.tolist()]
        padded = np.pad(volume.voxels, sides, constant_values=padding)
        start = -(-removed // 2)
        x, y, z = (slice(begin, begin + side) for begin, side in zip(start.tolist(), shape, strict=True))
        affine = np.array(volume.affine, np.float64)
        affine[:3, 3] += affine[:3, :3] @ (start - np.array([before for before, _ in sides]))
        return Volume(np.ascontiguousarray(padded[x, y, z]), affine)
