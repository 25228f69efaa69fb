from __future__ import annotations

import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.data.volume_reader import Volume, from_itk, read_volume, to_itk

AFFINE = np.array([[0, -1.5, 0, 10], [0.75, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
"""x runs to the front, y to the left."""


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def patched(path: Path, offset: int, data: bytes) -> Path:
    """Overwrite bytes of an uncompressed file."""
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(bytes(whole))
    return path


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_whole_numbers_stay_whole_and_in_place(tmp_path: Path, name: str) -> None:
    values = np.arange(-60, 60, dtype=np.int16).reshape(3, 4, 10)
    volume = read_volume(save(tmp_path / name, values))
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, values)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(volume.spacing, [0.75, 1.5, 3])


def test_slope_and_intercept_are_applied_once(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    image.header.set_slope_inter(2, -1024)
    nibabel.save(image, tmp_path / "v.nii")
    stored = np.frombuffer((tmp_path / "v.nii").read_bytes()[352:], np.int16).reshape(4, 3, 2).T
    np.testing.assert_allclose(read_volume(tmp_path / "v.nii").voxels, stored * 2.0 - 1024)


def test_a_neighbour_of_the_same_name_is_not_read(tmp_path: Path) -> None:
    """ITK takes the values of `v.nii` where it is asked for `v.nii.gz`."""
    first, second = np.zeros((2, 3, 4), np.int16), np.ones((2, 3, 4), np.int16)
    save(tmp_path / "v.nii", first)
    np.testing.assert_array_equal(read_volume(save(tmp_path / "v.nii.gz", second)).voxels, second)
    np.testing.assert_array_equal(read_volume(tmp_path / "v.nii").voxels, first)


def test_a_fourth_axis_of_one_is_dropped(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume = read_volume(save(tmp_path / "v.nii.gz", values[..., None]))
    np.testing.assert_array_equal(volume.voxels, values)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
def test_other_formats_give_the_same_volume(tmp_path: Path, name: str) -> None:
    import SimpleITK

    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    SimpleITK.WriteImage(to_itk(Volume(values, AFFINE)), str(tmp_path / name))
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, values)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "uint16", ">i2", "float16", "float32", "float64", "uint32"])
def test_values_survive_itk(dtype: str) -> None:
    values = np.array([0, 1, 1, 0, 1, 0]).reshape(1, 2, 3).astype(dtype)
    volume = from_itk(to_itk(Volume(values, AFFINE)))
    np.testing.assert_array_equal(volume.voxels, values)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_volumes_that_are_refused(tmp_path: Path) -> None:
    values = np.zeros((4, 4, 4), np.int16)
    with_nan = values.astype(np.float32)
    with_nan[1, 2, 3], with_nan[0, 0, 0] = np.nan, np.inf
    tilted = AFFINE.copy()
    tilted[2, 1] = 0.3
    second = tmp_path / "long.nii"
    nibabel.save(nibabel.Nifti2Image(values, AFFINE), second)
    cases = {
        "a volume with 2 of 64 values that are no finite number. Replace them": save(tmp_path / "nan.nii", with_nan),
        r"no affine: sform and qform code are 0": save(tmp_path / "nowhere.nii", values, None),
        r"no single volume of three axes \(shape \(4, 4, 4, 2\)\)": save(tmp_path / "time.nii", np.zeros((4, 4, 4, 2), np.int16)),
        r"axes are not perpendicular \(a tilted gantry\?\)": save(tmp_path / "tilted.nii", values, tilted),
        r"a spacing that is not positive \(0.75, 0, 3 mm\)": patched(
            save(tmp_path / "flat.nii", values), 80, struct.pack("<ff", 0.75, 0.0)
        ),
        "no such volume": tmp_path / "absent.nii",
        "is no volume. These are read: .nii": save(tmp_path / "x.nii", values).rename(tmp_path / "x.png"),
        "long.nii is a NIfTI-2 file. Write it as NIfTI-1": second,
        r"cut.nii \(400 of 480 bytes are there\)": tmp_path / "cut.nii",
        "cannot read .*flipped.nii.gz": tmp_path / "flipped.nii.gz",
        "cannot read .*text.nii": tmp_path / "text.nii",
        "cannot read .*short.nii.gz": tmp_path / "short.nii.gz",
    }
    (tmp_path / "text.nii").write_text("not a volume")
    whole = save(tmp_path / "long.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16)).read_bytes()
    (tmp_path / "short.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.nii.gz").write_bytes(bytes([*whole[:-7], whole[-7] ^ 1, *whole[-6:]]))  # its checksum
    (tmp_path / "cut.nii").write_bytes((tmp_path / "tilted.nii").read_bytes()[:400])
    for message, path in cases.items():
        with pytest.raises(UserError, match=message):
            read_volume(path)


@pytest.mark.parametrize(
    ("voxels", "affine", "message"),
    [
        (np.zeros((2, 3)), np.eye(4), r"a volume has three axes, x y z, not 2 \(shape \(2, 3\)\)"),
        (np.zeros((2, 3, 4, 5)), np.eye(4), "not 4"),
        (np.zeros((2, 0, 4)), np.eye(4), "a volume without voxels"),
        (np.zeros((2, 3, 4), complex), np.eye(4), "a volume of complex128 values is no CT"),
        (np.zeros((2, 3, 4)), None, "a volume needs an affine of 4 x 4 finite numbers"),
        (np.zeros((2, 3, 4)), np.full((4, 4), np.nan), "a volume needs an affine"),
        (np.zeros((2, 3, 4)), np.diag([2.0, 0, 2, 1]), r"a spacing that is not positive \(2, 0, 2 mm\)"),
    ],
)
def test_arrays_that_are_no_volume(voxels: np.ndarray, affine: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Volume(voxels, affine)
