from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from golden import assert_same, wave
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.core.errors import UserError
from lingula.data.volume_reader import Volume, read_volume
from lingula.data.volume_transform import VolumeTransform
from lingula.data.volume_transform_config import PRESETS, VolumeTransformConfig

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden/colipri/colipri.json").read_text())["processor"]
SLOPES = np.array([0.7, -1.3, 0.4])
"""HU per mm to the right, front and head."""


def transform(**options: object) -> VolumeTransform:
    return VolumeTransform(VolumeTransformConfig(**{"check_hounsfield": False, **options}))  # type: ignore[arg-type]


def places(volume: Volume) -> np.ndarray:
    """Where each voxel is, `x y z 3`, mm."""
    indices = np.stack(np.meshgrid(*map(np.arange, volume.voxels.shape), indexing="ij"), axis=-1)
    return indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def ramp(shape: tuple[int, int, int], affine: np.ndarray) -> Volume:
    """A volume whose value is linear in the place, whatever its axes are; linear interpolation must keep it so."""
    return Volume(places(Volume(np.zeros(shape), affine)) @ SLOPES, affine)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    axes = draw(st.permutations(range(3)))
    matrix = np.zeros((3, 3))
    for column, row in enumerate(axes):
        matrix[row, column] = draw(st.sampled_from([-1, 1])) * draw(st.floats(0.6, 5))
    angle = draw(st.floats(-0.3, 0.3))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ matrix, draw(st.tuples(*[st.floats(-50, 50)] * 3))
    return affine


@settings(max_examples=40, deadline=None)
@given(affines(), st.tuples(*[st.integers(6, 16)] * 3), st.sampled_from(["RAS", "SAR"]), st.sampled_from([None, 9, (4, 12, 7)]))
def test_every_voxel_keeps_its_place_in_the_patient(affine, shape, orientation, size) -> None:
    given, made = ramp(shape, affine), transform(orientation=orientation, size=size)(ramp(shape, affine))
    assert "".join(nibabel.aff2axcodes(made.affine)) == orientation
    np.testing.assert_allclose(made.spacing, 2)
    where = places(made)
    index = (where - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    inside = ((index > 1e-6) & (index < np.array(shape) - 1 - 1e-6)).all(axis=-1)
    np.testing.assert_allclose(made.voxels[inside], (where @ SLOPES)[inside] / 1000, atol=2e-5)
    outside = ((index < -0.5 - 1e-3) | (index > np.array(shape) - 0.5 + 1e-3)).any(axis=-1)
    if outside.any():
        assert (made.voxels[outside] == made.voxels.min()).all()
    if size is None:
        centre = affine @ [*(np.array(shape) - 1) / 2, 1]
        np.testing.assert_allclose(made.affine @ [*(np.array(made.voxels.shape) - 1) / 2, 1], centre, atol=1e-6)
        assert sorted(made.voxels.shape) == sorted(int(np.floor(n * s / 2)) for n, s in zip(shape, given.spacing, strict=True))


@pytest.mark.parametrize("angle", [1e-308, 1e-318, 1e-321, 1e-323])
def test_a_rotation_by_almost_nothing_is_none(angle: float) -> None:
    """Of such matrices, some numbers are too small for ITK's inverse."""
    plain = np.array([[-1.0, 0, 0, 0], [0, 0, -1.5, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    turned = np.array([[1, -angle, 0, 0], [angle, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ plain
    expected, found = (transform(size=None)(ramp((6, 6, 6), affine)).voxels for affine in (plain, turned))
    assert expected.std() > 0
    np.testing.assert_array_equal(found, expected)


def test_the_two_published_orientations_are_the_same_volume_with_axes_swapped() -> None:
    assert PRESETS["colipri-0.1.3"] == VolumeTransformConfig()
    assert PRESETS["colipri-0.1.1"] == VolumeTransformConfig(orientation="SAR")
    volume = ramp((9, 12, 15), np.diag([-1.1, 0.9, 2.7, 1]))
    right, head = transform(orientation="RAS", size=12)(volume), transform(orientation="SAR", size=12)(volume)
    np.testing.assert_allclose(head.voxels, right.voxels.transpose(2, 1, 0), atol=1e-6)


def test_hounsfield_units_are_clamped_and_scaled() -> None:
    values = np.array([-3000, -1000, -500, 0, 40, 1000, 2500], np.int16).reshape(7, 1, 1)
    made = transform(size=None)(Volume(values, np.diag([2.0, 2, 2, 1])))
    assert made.voxels.dtype == np.float32
    np.testing.assert_allclose(made.voxels.ravel(), [-1, -1, -0.5, 0, 0.04, 1, 1], atol=1e-6)
    lung = transform(size=None, hu_range=(-1150, 350))(Volume(values, np.diag([2.0, 2, 2, 1])))
    np.testing.assert_allclose(lung.voxels.ravel()[[0, 2, 4, 6]], [-1, 2 * 650 / 1500 - 1, 2 * 1190 / 1500 - 1, 1], atol=1e-6)


def test_padding_is_the_minimum_of_the_volume_and_the_start_takes_more() -> None:
    values = np.array([300, -400, 500], np.int16).reshape(3, 1, 1)
    made = transform(size=(6, 2, 1))(Volume(values, np.diag([2.0, 2, 2, 1])))
    np.testing.assert_allclose(made.voxels[:, 1, 0], [-0.4, -0.4, 0.3, -0.4, 0.5, -0.4], atol=1e-6)
    assert (made.voxels[:, 0] == made.voxels.min()).all()
    np.testing.assert_allclose(made.affine[:3, 3], [-4, -2, 0])
    cropped = transform(size=(1, 1, 1))(Volume(np.arange(4, dtype=np.int16).reshape(4, 1, 1), np.diag([2.0, 2, 2, 1])))
    assert cropped.voxels.item() == pytest.approx(0.002, abs=1e-6), "of four the third stays: two go at the start, one at the end"


def test_whole_hounsfield_units_are_interpolated_to_whole_ones() -> None:
    affine, values = np.diag([3.0, 3, 3, 1]), np.random.default_rng(0).integers(-900, 900, (8, 8, 8)).astype(np.int16)
    whole = transform(size=None)(Volume(values, affine)).voxels * 1000
    exact = transform(size=None)(Volume(values.astype(np.float64), affine)).voxels * 1000
    np.testing.assert_allclose(whole, whole.round(), atol=1e-3)
    assert 0.1 < np.abs(whole - exact).max() <= 1 + 1e-3


@pytest.mark.parametrize("orientation", ["RAS", "SAR"])
def test_equals_the_published_processor(tmp_path: Path, orientation: str) -> None:
    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ np.diag([-0.9, -1.3, 2.6]), [11, -7, 5]
    hu = (-200 + 1100 * wave((40, 33, 27), 0.37, 0.1, torch.float64)).round().numpy().astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(hu, affine), tmp_path / "v.nii.gz")
    made, golden = transform(orientation=orientation, size=24)(tmp_path / "v.nii.gz"), GOLDEN[orientation]
    assert [1, *made.voxels.shape] == golden["shape"]
    assert_same(torch.from_numpy(made.voxels), golden, 1e-5)
    np.testing.assert_allclose(made.affine, golden["affine"], atol=1e-5)


def test_a_batch_has_a_channel_and_one_shape() -> None:
    first, second = ramp((9, 9, 9), np.eye(4)), ramp((12, 9, 9), np.eye(4))
    assert transform(size=8).batch([first, second]).shape == (2, 1, 8, 8, 8)
    with pytest.raises(UserError, match=r"volumes of 2 different shapes cannot be one batch. Fix a size"):
        transform(size=None).batch([first, second])
    with pytest.raises(UserError, match="a batch of no volumes"):
        transform().batch([])


@pytest.mark.parametrize(
    ("name", "spacing", "shape", "ends"),
    [
        ("ct-clip", (0.75, 0.75, 1.5), (480, 480, 240), (-1, 1)),
        ("merlin", (1.5, 1.5, 3), (224, 224, 160), (0, 1)),
    ],
)
def test_presets_of_peers_give_their_grid_and_range(name: str, spacing: tuple, shape: tuple, ends: tuple) -> None:
    """A volume with -1000 HU and less at one end and 1000 HU and more at the other, axes to the left, back and feet."""
    values = np.linspace(-1500, 1500, 40)[:, None, None] * np.ones((1, 8, 6))
    affine = np.diag([-6.0, -7, -8, 1])
    assert PRESETS[name].shape == shape
    made = VolumeTransform(PRESETS[name].model_copy(update={"check_hounsfield": False, "size": None}))(Volume(values, affine))
    np.testing.assert_allclose(made.spacing, spacing)
    assert "".join(nibabel.aff2axcodes(made.affine)) == "RAS"
    assert (made.voxels.min(), made.voxels.max()) == ends
    here = np.round(np.linalg.inv(made.affine) @ affine @ [25, 4, 3, 1]).astype(int)[:3]
    assert made.voxels[tuple(here)] == pytest.approx(ends[0] + (values[25, 0, 0] + 1000) / 2000 * (ends[1] - ends[0]), abs=0.02)


def test_the_z_score_has_no_mean_and_unit_spread() -> None:
    values = np.random.default_rng(0).normal(-300, 400, (12, 10, 9)).astype(np.float32)
    made = VolumeTransform(PRESETS["nnssl-1mm"].model_copy(update={"check_hounsfield": False}))(Volume(values, np.eye(4)))
    np.testing.assert_allclose(made.voxels, (values - values.astype(float).mean()) / values.astype(float).std(), atol=1e-5)
    flat = transform(hu_range=None, size=None)(Volume(np.full((4, 4, 4), 7, np.int16), np.eye(4) * 2))
    assert not flat.voxels.any(), "a constant volume has no spread to divide by"


@settings(max_examples=20, deadline=None)
@given(affines(), st.tuples(*[st.integers(6, 16)] * 3), st.sampled_from(["RAS", "SAR"]), st.sampled_from([None, 9, (4, 12, 7)]))
def test_labels_stay_at_their_place_and_are_never_mixed(affine, shape, orientation, size) -> None:
    """A label per octant about the volume's centre: each voxel of the new mask has the label of where it is."""
    centre = (np.array(shape) - 1) / 2
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    volume, labels = ramp(shape, affine), 10 + ((index > centre) @ [1, 2, 4])
    made = transform(orientation=orientation, size=size).mask(Volume(labels.astype(np.uint8), affine), volume)
    image = transform(orientation=orientation, size=size)(volume)
    assert made.voxels.shape == image.voxels.shape
    np.testing.assert_allclose(made.affine, image.affine)
    where = (places(made) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    clear = (np.abs(where - centre) > 0.51).all(axis=-1) & ((where > -0.49) & (where < np.array(shape) - 0.51)).all(axis=-1)
    np.testing.assert_array_equal(made.voxels[clear], (10 + (where > centre) @ [1, 2, 4])[clear])
    assert set(np.unique(made.voxels).tolist()) <= {0, *range(10, 18)}


def test_a_mask_of_a_real_volume_keeps_its_size_in_mm(shared: Path) -> None:
    volume = shared / "data/ct/images/lidc_0314.nii.gz"
    mask = next((shared / "data/ct/masks").glob("lidc_0314*.nii.gz"))
    before, after = read_volume(mask), VolumeTransform().mask(mask, volume)
    litres = [(each.voxels > 0).sum() * each.spacing.prod() for each in (before, after)]
    assert litres[1] == pytest.approx(litres[0], rel=0.05)
    centres = [np.argwhere(each.voxels > 0).mean(axis=0) @ each.affine[:3, :3].T + each.affine[:3, 3] for each in (before, after)]
    np.testing.assert_allclose(centres[1], centres[0], atol=1, err_msg="half a new voxel")


def test_masks_on_another_grid_are_refused() -> None:
    volume, labels, affine = ramp((9, 8, 7), np.eye(4)), np.ones((9, 8, 7), np.uint8), np.eye(4)
    near = affine.copy()
    near[0, 3] = 0.05
    transform().mask(Volume(labels, near), volume)
    near[0, 3] = 0.2
    with pytest.raises(UserError, match=r"a mask is not on the grid of its volume: a corner lies 0.2 mm away. Resample"):
        transform().mask(Volume(labels, near), volume)
    with pytest.raises(UserError, match=r"a corner lies 16 mm away"):
        transform().mask(Volume(labels[::-1], np.diag([-1.0, 1, 1, 1])), volume)
    with pytest.raises(UserError, match=r"a mask of \(9, 8, 6\) voxels is not on the grid of its volume of \(9, 8, 7\)"):
        transform().mask(Volume(labels[..., :6], affine), volume)


def test_thin_volumes() -> None:
    one_slice = transform(size=None)(ramp((9, 9, 1), np.diag([2.0, 2, 0.5, 1])))
    assert one_slice.voxels.shape == (9, 9, 1), "a single slice stays one"
    assert transform(size=None)(ramp((9, 9, 2), np.diag([2.0, 2, 3, 1]))).voxels.shape == (9, 9, 3)
    with pytest.raises(UserError, match="a volume of 18 x 18 x 1 mm is thinner than one voxel of 2 mm"):
        transform()(ramp((9, 9, 2), np.diag([2.0, 2, 0.5, 1])))


def test_configurations_that_make_no_sense() -> None:
    for values, message in [
        ({"orientation": "LPS"}, "'orientation'.*'RAS' or 'SAR'"),
        ({"spacing": 0}, "'spacing'"),
        ({"spacing": (1, 1, -1)}, r"a voxel size of \(1.0, 1.0, -1.0\) mm must be positive"),
        ({"hu_range": (100, 100)}, r"Hounsfield range \(100.0, 100.0\) must grow"),
        ({"value_range": (1, 0)}, r"range of values \(1.0, 0.0\) must grow"),
    ]:
        with pytest.raises(UserError, match=message):
            VolumeTransformConfig.from_values(values, "config.yaml")
