"""Grids of CT volumes: where their axes point, and how far apart their voxels are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lingula.core.errors import UserError
from lingula.data.volume_reader import Volume, from_itk, to_itk


def orient(volume: Volume, orientation: str) -> Volume:
    """Swap and flip axes until they point, as nearly as they can, to the given sides of the patient; no value changes.

    Args:
        volume: Any volume.
        orientation: Where x, y and z of the result point, e.g. `RAS`: right, front, head.
    """
    from nibabel import orientations

    here = orientations.io_orientation(volume.affine)
    there = orientations.axcodes2ornt(tuple(orientation))
    change = orientations.ornt_transform(here, there)
    if np.array_equal(change, [[0, 1], [1, 1], [2, 1]]):
        return volume
    voxels = np.ascontiguousarray(orientations.apply_orientation(volume.voxels, change))
    return Volume(voxels, volume.affine @ orientations.inv_ornt_aff(change, volume.voxels.shape))


def resample(volume: Volume, spacing: Sequence[float], nearest: bool = False) -> Volume:
    """Interpolate, linearly, on a grid of the same centre and directions that does not reach beyond the old one.

    Whole numbers stay whole numbers. A single slice stays a single slice. Nothing is smoothed before.

    Args:
        volume: Any volume.
        spacing: Voxel size along x, y and z, mm.
        nearest: Take the value of the nearest voxel instead.

    Raises:
        UserError: The volume is thinner than a new voxel.
    """
    import SimpleITK

    image = to_itk(volume)
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetInterpolator(SimpleITK.sitkNearestNeighbor if nearest else SimpleITK.sitkLinear)
    resampler.SetReferenceImage(_grid_like(image, np.array(spacing, np.float64)))
    return from_itk(resampler.Execute(image))


def _grid_like(image: Any, spacing: np.ndarray) -> Any:
    """Return an empty image of another spacing with the centre of the old one, as many voxels as fit."""
    import SimpleITK

    old_size, old_spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    size = np.where(old_size == 1, 1, np.floor(old_size * old_spacing / spacing)).astype(int)
    if (size < 1).any():
        extent, voxel = (" x ".join(f"{length:g}" for length in lengths) for lengths in (old_size * old_spacing, spacing))
        voxel = f"{spacing[0]:g}" if (spacing == spacing[0]).all() else voxel
        raise UserError(f"a volume of {extent} mm is thinner than one voxel of {voxel} mm", "Leave it out.")
    last = np.array(image.TransformIndexToPhysicalPoint((old_size - 1).tolist()))
    centre = (last + np.array(image.GetOrigin())) / 2
    direction = np.array(image.GetDirection()).reshape(3, 3)
    grid = SimpleITK.Image(size.tolist(), image.GetPixelID())
    grid.SetDirection(image.GetDirection())
    grid.SetSpacing(spacing.tolist())
    grid.SetOrigin((centre - direction @ ((size - 1) / 2 * spacing)).tolist())
    return grid
