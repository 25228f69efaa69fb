from __future__ import annotations

import nibabel
import numpy as np
import pytest
from ct_volumes import LAS, chest

from lingula.core.errors import UserError
from lingula.data.prepare_config import VolumeStoringConfig
from lingula.data.study import Region, Scan
from lingula.data.volume_grid import resample
from lingula.data.volume_reader import Volume
from lingula.data.volume_storing import VolumeStoring

TURNED = np.array([[0, 0, -3.0, 90], [2, 0, 0, -40], [0, -2.5, 0, 70], [0, 0, 0, 1]])
"""x runs to the front, y to the feet, z to the left."""


def storing(**options: object) -> VolumeStoring:
    return VolumeStoring(VolumeStoringConfig(**options))  # type: ignore[arg-type]


def box_in_mm(box: tuple[float, ...], affine: np.ndarray) -> np.ndarray:
    """Both corners, sorted, mm RAS."""
    corners = (np.array(box).reshape(2, 3) - 0.5) @ affine[:3, :3].T + affine[:3, 3]
    return np.sort(corners, axis=0)


@pytest.mark.parametrize("affine", [LAS, TURNED])
@pytest.mark.parametrize("spacing", [None, 4.0, (1.0, 2.0, 5.0)])
@pytest.mark.parametrize("orientation", ["RAS", "SAR"])
def test_boxes_and_masks_stay_where_they_are_in_the_patient(affine: np.ndarray, spacing, orientation: str) -> None:
    volume = Volume(chest(), affine)
    mask = np.zeros(volume.voxels.shape, bool)
    mask[8:20, 6:18, 4:20] = True
    box = (8.0, 6.0, 4.0, 20.0, 18.0, 20.0)
    scan = Scan(volume, [Region(finding="organ", box=(0, 0, 0, 1, 1, 1))], [mask])
    made = storing(spacing=spacing, orientation=orientation).scan(scan, [Region(finding="box", box=box)])
    assert "".join(nibabel.aff2axcodes(made.volume.affine)) == orientation
    np.testing.assert_allclose(box_in_mm(made.regions[0].box, made.volume.affine), box_in_mm(box, affine), atol=1e-6)
    assert made.masks[0] is None
    moved = made.masks[1]
    assert moved is not None
    litres = [m.sum() * v.spacing.prod() for m, v in ((mask, volume), (moved, made.volume))]
    assert litres[1] == pytest.approx(litres[0], rel=0.2 if spacing == 4.0 else 0.12)
    centres = [v.affine @ [*np.argwhere(m).mean(axis=0), 1] for m, v in ((mask, volume), (moved, made.volume))]
    np.testing.assert_allclose(centres[1], centres[0], atol=made.volume.spacing.max() / 2)
    near = np.abs(box_in_mm(made.regions[1].box, made.volume.affine) - box_in_mm(box, affine))
    assert (near <= made.volume.spacing.max()).all()


def test_values_are_clamped_and_rounded_to_int16() -> None:
    values = chest().astype(np.float32) + np.float32(0.4)
    values[0, 0, 0], values[1, 0, 0] = -3024, 8000
    made = storing()(Volume(values, np.eye(4))).voxels
    assert made.dtype == np.int16
    assert (made[0, 0, 0], made[1, 0, 0]) == (-1024, 3071)
    np.testing.assert_array_equal(made[2:], chest()[2:])
    assert storing(hu_range=None)(Volume(values, np.eye(4))).voxels.max() == 8000
    values[1, 0, 0] = 40000
    with pytest.raises(UserError, match=r"values from -3024 to 40000 do not fit into int16. Clamp them with --hu-range"):
        storing(hu_range=None)(Volume(values, np.eye(4)))


def test_a_spacing_that_is_there_already_leaves_the_voxels_alone() -> None:
    """Whole voxels of 2.2 mm: the floor of 40 x 2.2 / 2.2 must not cut one off."""
    volume = Volume(chest(), np.diag([2.2, 2.2, 2.2, 1]))
    np.testing.assert_array_equal(storing(spacing=2.2)(volume).voxels, volume.voxels)
    assert storing(spacing=2.0)(volume).voxels.shape == (44, 33, 26)


def test_resampled_values_are_rounded_not_cut_off() -> None:
    """ITK cuts the fraction of whole numbers off; the mean error of rounding is none."""
    values = np.random.default_rng(0).integers(-900, 900, (20, 20, 20)).astype(np.int16)
    made = storing(spacing=1.5, check_hounsfield=False)(Volume(values, np.eye(4))).voxels
    exact = resample(Volume(values.astype(np.float64), np.eye(4)), (1.5, 1.5, 1.5)).voxels
    assert np.abs(made - exact).max() <= 0.5 + 1e-3


def test_regions_of_which_nothing_is_left_are_problems() -> None:
    volume = Volume(chest(), np.eye(4))
    speck, other = np.zeros((40, 30, 24), bool), np.ones((40, 30, 23), bool)
    speck[3, 3, 3] = True
    empty = np.zeros((40, 30, 24), bool)
    regions = [Region(finding=name, box=(0, 0, 0, 1, 1, 1), mask=f"{name}.nii") for name in ("speck", "other", "empty")]
    boxes = [
        Region(finding="outside", box=(50, 0, 0, 60, 5, 5)),
        Region(finding="turned", box=(5, 0, 0, 2, 5, 5)),
        Region(finding="flat", box=(0, 0, 5, 5)),
        Region(finding="partly", box=(30, 20, 20, 60, 60, 60)),
    ]
    made = storing(spacing=4.0).scan(Scan(volume, regions, [speck, other, empty]), boxes)
    assert [region.finding for region in made.regions] == ["partly"]
    assert made.regions[0].box[3:] == made.volume.voxels.shape
    assert [path for path, _ in made.problems] == ["", "", "", "speck.nii", "other.nii", "empty.nii"]
    assert "its box lies outside the volume, or is empty" in made.problems[0][1]
    assert "its box lies outside the volume, or is empty" in made.problems[1][1]
    assert "six finite numbers" in made.problems[2][1]
    assert made.problems[3][1] == "region 'speck': nothing is left of its mask at this voxel size"
    assert "a mask of (40, 30, 23) voxels is not on the grid of its volume of (40, 30, 24)" in made.problems[4][1]


def test_a_range_that_does_not_grow_is_refused() -> None:
    with pytest.raises(UserError, match="must grow"):
        VolumeStoringConfig.from_values({"hu_range": (5, 5)}, "config.yaml")
