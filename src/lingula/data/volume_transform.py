"""The declared way of a CT volume into a model: orientation, spacing, Hounsfield range, size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lingula.core.errors import UserError
from lingula.core.types import Volumes
from lingula.data.hounsfield import check_hounsfield
from lingula.data.volume_reader import Volume, check_same_grid, from_itk, read_volume, to_itk
from lingula.data.volume_transform_config import VolumeTransformConfig


class VolumeTransform:
    """Reorient, resample, clamp, rescale to [-1, 1], crop or pad; equal to the processor of colipri 0.1.3 by default.

    Args:
        config: What is done.
    """

    def __init__(self, config: VolumeTransformConfig | None = None) -> None:
        self.config = config or VolumeTransformConfig()

    def __call__(self, volume: Volume | str | Path) -> Volume:
        """Transform one volume, or the file of one.

        Returns:
            float32 voxels in [-1, 1], with the affine of the new grid: what is found in it can be put back.

        Raises:
            UserError: The file cannot be read, the volume is thinner than a new voxel, or its values are no Hounsfield units.
        """
        volume = volume if isinstance(volume, Volume) else read_volume(volume)
        if self.config.check_hounsfield:
            check_hounsfield(volume.voxels)
        volume = self._rescale(self._resample(self._orient(volume)))
        return self._fit(volume, volume.voxels.min())

    def mask(self, mask: Volume | str | Path, volume: Volume | str | Path) -> Volume:
        """Bring a mask to the grid that its volume is brought to: labels of the nearest voxel, 0 where there was none.

        Raises:
            UserError: A file cannot be read, or mask and volume are on different grids.
        """
        mask, volume = (given if isinstance(given, Volume) else read_volume(given) for given in (mask, volume))
        check_same_grid(volume, mask)
        return self._fit(self._resample(self._orient(mask), nearest=True), 0)

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

    def _orient(self, volume: Volume) -> Volume:
        """Swap and flip axes until they point, as nearly as they can, where the configuration says; no value changes."""
        from nibabel import orientations

        here = orientations.io_orientation(volume.affine)
        there = orientations.axcodes2ornt(tuple(self.config.orientation))
        change = orientations.ornt_transform(here, there)
        if np.array_equal(change, [[0, 1], [1, 1], [2, 1]]):
            return volume
        voxels = np.ascontiguousarray(orientations.apply_orientation(volume.voxels, change))
        return Volume(voxels, volume.affine @ orientations.inv_ornt_aff(change, volume.voxels.shape))

    def _resample(self, volume: Volume, nearest: bool = False) -> Volume:
        """Interpolate, linearly, on a grid of the same centre and directions that does not reach beyond the old one.

        Whole numbers stay whole numbers. A single slice stays a single slice.
        """
        import SimpleITK

        image = to_itk(volume)
        resampler = SimpleITK.ResampleImageFilter()
        resampler.SetInterpolator(SimpleITK.sitkNearestNeighbor if nearest else SimpleITK.sitkLinear)
        resampler.SetReferenceImage(_grid_like(image, self.config.spacing))
        return from_itk(resampler.Execute(image))

    def _rescale(self, volume: Volume) -> Volume:
        low, high = self.config.hu_range
        voxels = np.clip(volume.voxels, low, high).astype(np.float32)
        for operation, number in ((np.subtract, low), (np.divide, high - low), (np.multiply, 2), (np.subtract, 1)):
            operation(voxels, np.float32(number), out=voxels)
        return Volume(voxels, volume.affine)

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


def _grid_like(image: Any, spacing: float) -> Any:
    """Return an empty image of another spacing with the centre of the old one, as many voxels as fit."""
    import SimpleITK

    old_size, old_spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    size = np.where(old_size == 1, 1, np.floor(old_size * old_spacing / spacing)).astype(int)
    if (size < 1).any():
        extent = " x ".join(f"{length:g}" for length in old_size * old_spacing)
        raise UserError(f"a volume of {extent} mm is thinner than one voxel of {spacing:g} mm", "Leave it out.")
    last = np.array(image.TransformIndexToPhysicalPoint((old_size - 1).tolist()))
    centre = (last + np.array(image.GetOrigin())) / 2
    direction = np.array(image.GetDirection()).reshape(3, 3)
    grid = SimpleITK.Image(size.tolist(), image.GetPixelID())
    grid.SetDirection(image.GetDirection())
    grid.SetSpacing([spacing] * 3)
    grid.SetOrigin((centre - direction @ ((size - 1) / 2 * spacing)).tolist())
    return grid
