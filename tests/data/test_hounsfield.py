from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.data.hounsfield import check_hounsfield
from lingula.data.volume_reader import Volume, read_volume
from lingula.data.volume_transform import VolumeTransform


@pytest.fixture
def chest() -> np.ndarray:
    """Air around, muscle within, two lungs, some bone; 80 slices, so that every second voxel is looked at."""
    hu = np.full((80, 64, 64), -1000, np.int16)
    hu[10:70, 10:54] = 40
    hu[15:35, 20:45, 10:50] = hu[45:65, 20:45, 10:50] = -850
    hu[38:42, 45:50] = 700
    return hu


@pytest.mark.parametrize("padding", [None, -2000, -3024])
def test_a_chest_passes_whatever_is_outside_the_field_of_view(chest: np.ndarray, padding: int | None) -> None:
    if padding is not None:
        chest[:5] = padding
    check_hounsfield(chest)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (lambda hu: hu - 1024, "They fit after adding 1024: the intercept was applied twice."),
        (lambda hu: hu + 1024, "They fit after subtracting 1024: the intercept was not applied."),
        (lambda hu: hu * 2 - 1024, "Apply slope and intercept once"),
        (lambda hu: hu - 8192, "Apply slope and intercept once"),
        (lambda hu: hu.clip(-1000, 1000) / 1000, "Apply slope and intercept once"),
        (lambda hu: ((hu + 1000) / 2000 * 255).clip(0, 255).astype(np.uint8), "Apply slope and intercept once"),
    ],
    ids=["twice", "never", "slope", "other intercept", "scaled", "8 bit"],
)
def test_what_is_no_hounsfield_unit_is_refused(chest: np.ndarray, change, remedy: str) -> None:
    volume = Volume(change(chest), np.diag([4.0, 4, 4, 1]))
    with pytest.raises(UserError, match="are no Hounsfield units of a chest") as caught:
        VolumeTransform()(volume)
    assert caught.value.remedy.startswith(remedy)


def test_the_message_has_the_shares() -> None:
    half = np.array([0.0, 0, 5000, 5000, -900] * 2).reshape(10, 1, 1)
    check_hounsfield(half)
    with pytest.raises(
        UserError, match=r"from 0 to 5000 .* 0.0% between -1100 and -600 \(air\), 40.0% between -150 and 250 \(soft"
    ):
        check_hounsfield(np.abs(half))


def test_every_real_volume_passes_and_fails_after_another_intercept(shared: Path) -> None:
    files = sorted((shared / "data/ct/images").glob("*.nii.gz"))
    assert len(files) == 13
    for file in files:
        hu = read_volume(file).voxels
        check_hounsfield(hu)
        for shift, remedy in ((-1024, "applied twice"), (1024, "not applied")):
            with pytest.raises(UserError, match=remedy):
                check_hounsfield(hu + np.int16(shift))
