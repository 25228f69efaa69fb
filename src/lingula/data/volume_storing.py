"""The declared way of a CT volume into a store: orientation, spacing, clamp, int16 Hounsfield units; regions follow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from lingula.core.errors import UserError
from lingula.core.types import VolumeMask
from lingula.data.hounsfield import check_hounsfield
from lingula.data.prepare_config import VolumeStoringConfig
from lingula.data.study import Region, Scan, SpaceBox
from lingula.data.volume_grid import orient, resample
from lingula.data.volume_reader import Volume
from lingula.data.volume_transform_config import along_axes

SAME_SPACING = 1e-3
"""Relative difference up to which a spacing counts as the one asked for: the volume is not resampled."""
INT16 = np.iinfo(np.int16)


class VolumeStoring:
    """Reorient, resample, clamp and round; the same for a store and for a new volume that a trained model meets.

    Args:
        config: What is done; a store says it in `VolumeStore.storing`.
    """

    def __init__(self, config: VolumeStoringConfig | None = None) -> None:
        self.config = config or VolumeStoringConfig()

    def __call__(self, volume: Volume) -> Volume:
        """Return what a store would hold of a volume: int16 Hounsfield units, with the affine of the new grid.

        Raises:
            UserError: It has too few voxels along an axis, is thinner than a new voxel, has no air or soft tissue at their
                Hounsfield units, or values beyond int16 that are not clamped.
        """
        if min(volume.voxels.shape) < self.config.least_voxels:
            sides = " x ".join(map(str, volume.voxels.shape))
            problem = f"{sides} voxels are too few for a volume (at least {self.config.least_voxels} along each axis)"
            raise UserError(problem, "Leave it out, or allow it with --least-voxels.")
        if self.config.check_hounsfield:
            check_hounsfield(volume.voxels)
        moved = self._on_grid(volume)
        return Volume(_whole(moved.voxels, self.config.hu_range), moved.affine)

    def scan(self, scan: Scan, boxes: Sequence[Region] = ()) -> Scan:
        """Return what a store would hold of a volume and its regions; those of which nothing is left become problems.

        Args:
            scan: As a source read it.
            boxes: Further regions of the volume, without masks.

        Raises:
            UserError: As above.
        """
        volume = self(scan.volume)
        stored = Scan(volume, problems=list(scan.problems))
        for region, mask in [*((box, None) for box in boxes), *zip(scan.regions, scan.masks, strict=True)]:
            try:
                moved = None if mask is None else self._move_mask(mask, scan.volume)
                box = _moved_box(region.box, scan.volume, volume) if moved is None else bounding_box(moved)
            except UserError as error:
                stored.problems.append((region.mask or "", f"region '{region.finding}': {error.problem}"))
                continue
            stored.regions.append(region.model_copy(update={"box": box}))
            stored.masks.append(moved)
        return stored

    def _on_grid(self, volume: Volume) -> Volume:
        volume = orient(volume, self.config.orientation)
        if self.config.spacing is None:
            return volume
        spacing = along_axes(self.config.spacing)
        if np.allclose(volume.spacing, spacing, rtol=SAME_SPACING, atol=0):
            return volume
        return resample(Volume(volume.voxels.astype(np.float32), volume.affine), spacing)

    def _move_mask(self, mask: VolumeMask, volume: Volume) -> VolumeMask:
        """Bring a mask to the stored grid: voxels whose centre is inside by at least half, interpolated linearly."""
        if mask.shape != volume.voxels.shape:
            problem = f"a mask of {mask.shape} voxels is not on the grid of its volume of {volume.voxels.shape}"
            raise UserError(problem, "Resample the mask to its volume with nearest neighbours.")
        moved = self._on_grid(Volume(mask.astype(np.uint8), volume.affine))
        return np.asarray(moved.voxels >= 0.5)


def bounding_box(mask: VolumeMask) -> SpaceBox:
    """Return x1, y1, z1, x2, y2, z2 around a mask, at the outer edges of its voxels.

    Raises:
        UserError: The mask is empty.
    """
    inside = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not len(inside[0]):
        raise UserError("nothing is left of its mask at this voxel size", "Store finer voxels.")
    x, y, z = inside
    return float(x[0]), float(y[0]), float(z[0]), float(x[-1] + 1), float(y[-1] + 1), float(z[-1] + 1)


def _moved_box(box: tuple[float, ...], old: Volume, new: Volume) -> SpaceBox:
    """Bring a box to another grid with parallel axes, clipped to it; an edge at e lies at the index e - 0.5."""
    if len(box) != 6 or not np.isfinite(box).all():
        raise UserError(f"a box of a volume is six finite numbers, not {box}", "Mend the table of boxes.")
    corners = np.array(list(product(*zip(box[:3], box[3:], strict=True)))) - 0.5
    places = corners @ old.affine[:3, :3].T + old.affine[:3, 3]
    edges = (places - new.affine[:3, 3]) @ np.linalg.inv(new.affine[:3, :3]).T + 0.5
    low, high = (edge.clip(0, new.voxels.shape) for edge in (edges.min(axis=0), edges.max(axis=0)))
    if (np.array(box[:3]) >= box[3:]).any() or (low >= high).any():
        raise UserError("its box lies outside the volume, or is empty", "Mend the table of boxes.")
    x1, y1, z1, x2, y2, z2 = (float(edge) for edge in (*low, *high))
    return x1, y1, z1, x2, y2, z2


def _whole(voxels: np.ndarray, hu_range: tuple[float, float] | None) -> np.ndarray:
    """Clamp and round to int16.

    Raises:
        UserError: A value is too large for int16.
    """
    clamped = voxels if hu_range is None else np.clip(voxels, *hu_range)
    rounded = np.rint(clamped) if clamped.dtype.kind == "f" else clamped
    low, high = rounded.min(), rounded.max()
    if low < INT16.min or high > INT16.max:
        raise UserError(f"values from {low:g} to {high:g} do not fit into int16", "Clamp them with --hu-range.")
    return np.ascontiguousarray(rounded, dtype=np.int16)
