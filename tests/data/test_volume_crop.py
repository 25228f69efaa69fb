from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ct_volumes import ChestSource, chest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.core.distributed import World
from lingula.core.errors import UserError
from lingula.data.loader import BatchBuilder, TextPlan, TrainingLoader
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.samples import BatchOrder, paired_rows
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_reader import Volume
from lingula.data.volume_store import VolumeStore
from lingula.data.volume_transform import VolumeTransform
from lingula.data.volume_transform_config import VolumeTransformConfig

SHAPES = [(40, 30, 24), (33, 40, 20), (25, 26, 27), (50, 20, 16), (40, 30, 24), (34, 35, 36), (24, 24, 24), (31, 29, 23)]
AFFINE = np.diag([2.0, 2, 2, 1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    source = ChestSource(SHAPES, affine=AFFINE)
    return VolumeStore.open(prepare(source, tmp_path_factory.mktemp("ct") / "store", PrepareVolumesConfig(), workers=1).store)


def scaled(hu: np.ndarray) -> np.ndarray:
    return np.asarray(hu.astype(np.float64).clip(-1000, 1000) / 1000)


@pytest.mark.parametrize("size", [12, (20, 31, 8), 64, (7, 60, 9)])
def test_evaluation_equals_the_transform_of_whole_volumes(store: VolumeStore, size) -> None:
    """Crop, padding with the minimum and scale as `VolumeTransform` does them, which equals the published processor."""
    reference = VolumeTransform(VolumeTransformConfig(spacing=2.0, size=size))
    found = VolumeCrop(VolumeCropConfig(size=size)).evaluate(store, range(8))
    assert found.dtype == torch.float32
    for row, shape in enumerate(SHAPES):
        expected = reference(Volume(chest(shape, row).astype(np.float64), AFFINE)).voxels
        np.testing.assert_allclose(found[row, 0].numpy(), expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), st.tuples(*[st.integers(3, 60)] * 3), st.integers(0, 999))
def test_a_training_crop_is_somewhere_in_its_volume(store: VolumeStore, row: int, size: tuple[int, int, int], seed: int) -> None:
    """Found by comparing with every place, and along short axes padded about the middle with the volume's minimum."""
    crop = VolumeCrop(VolumeCropConfig(size=size)).train(store, [row], [(seed, 0, "s")])[0, 0].numpy()
    hu = chest(SHAPES[row], row)
    sides = [(-(-max(n - m, 0) // 2), max(n - m, 0) // 2) for n, m in zip(size, hu.shape, strict=True)]
    padded = scaled(np.pad(hu, sides, constant_values=hu.min()))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    corners = np.argwhere(np.abs(windows[..., 0, 0, 0] - crop[0, 0, 0]) < 1e-6)
    assert any(np.abs(windows[tuple(corner)] - crop).max() < 1e-6 for corner in corners)


@pytest.mark.parametrize(("spread", "first", "last"), [(1.0, 0, 12), (0.5, 3, 9)])
def test_every_place_is_as_likely_as_another(store: VolumeStore, spread: float, first: int, last: int) -> None:
    """12 of 24 voxels of the last volume but one: 13 places along each axis, or the 7 in the middle of them."""
    hu, count = chest(SHAPES[6], 6) / 2000, last - first + 1
    crops = VolumeCrop(VolumeCropConfig(size=12, hu_range=(-2000, 2000), spread=spread))
    drawn = crops.train(store, [6] * 100 * count, [(0, 0, str(n)) for n in range(100 * count)])[:, 0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(hu, (12, 12, 12))[..., 0, 0:2, 0:4].reshape(-1, 8)
    places = np.array([np.abs(windows - crop[0, 0:2, 0:4].ravel()).max(axis=1).argmin() for crop in drawn])
    for axis in range(3):
        counts = np.bincount(np.unravel_index(places, (13, 13, 13))[axis], minlength=13)
        assert counts.sum() == counts[first : last + 1].sum()
        assert counts[first : last + 1].min() > 60, "100 are expected; 60 would be four standard deviations away"
        assert counts.max() < 140


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 7), st.tuples(*[st.integers(3, 60)] * 3))
def test_without_spread_training_sees_what_evaluation_sees(store: VolumeStore, row: int, size: tuple[int, int, int]) -> None:
    """Longer or shorter than the volume, even or odd."""
    crops = VolumeCrop(VolumeCropConfig(size=size, spread=0))
    assert torch.equal(crops.train(store, [row], [(0, 0, "s")]), crops.evaluate(store, [row]))


def test_a_draw_depends_on_its_key_alone(store: VolumeStore) -> None:
    crops = VolumeCrop(VolumeCropConfig(size=10, flip=(0.5, 0.5, 0.5), shift=50, contrast=0.1))
    keys = [(3, epoch, f"s{row}") for epoch in range(2) for row in range(8)]
    rows = [*range(8), *range(8)]
    together = crops.train(store, rows, keys)
    for number in range(16):
        assert torch.equal(crops.train(store, rows[number : number + 1], keys[number : number + 1])[0], together[number])
    assert not torch.equal(together[:8], together[8:])


def test_mirrors_shift_and_contrast(store: VolumeStore) -> None:
    hu = chest(SHAPES[6], 6).astype(float)
    key = [(0, 0, "a")]
    mirrored = VolumeCrop(VolumeCropConfig(size=24, flip=(1, 0, 1))).train(store, [6], key)[0, 0].numpy()
    np.testing.assert_allclose(mirrored, scaled(hu)[::-1, :, ::-1], atol=1e-6)
    never = VolumeCrop(VolumeCropConfig(size=24)).train(store, [6], key)[0, 0].numpy()
    np.testing.assert_allclose(never, scaled(hu), atol=1e-6)
    inside = np.abs(hu) < 700
    for option, most in (("shift", 100.0), ("contrast", 0.2)):
        crops = VolumeCrop(VolumeCropConfig(size=24, **{option: most}))
        made = crops.train(store, [6] * 50, [(0, 0, str(n)) for n in range(50)])[:, 0].numpy() * 1000
        change = [(each - hu)[inside].mean() if option == "shift" else (each[inside] / hu[inside]).mean() - 1 for each in made]
        assert -most <= min(change) < -most / 2
        assert most / 2 < max(change) <= most * (1 + 1e-5)
        assert np.abs(made).max() <= 1000 + 1e-3, "clamped after the change"


@pytest.mark.parametrize("size", [14, 50])
def test_masks_follow_the_crop(store: VolumeStore, size: int) -> None:
    crops = VolumeCrop(VolumeCropConfig(size=size, flip=(0.5, 0.5, 0.5)))
    for row in range(8):
        whole = np.zeros(SHAPES[row], bool)
        whole[8:14, 10:15, 6:16] = True
        sides = [(-(-max(size - m, 0) // 2), max(size - m, 0) // 2) for m in whole.shape]
        centre = crops.mask(store, row, 1)
        assert centre is not None
        padded = np.pad(whole, sides)
        start = [-(-(n - size) // 2) for n in padded.shape]
        np.testing.assert_array_equal(centre, padded[tuple(slice(first, first + size) for first in start)])
        key = (1, 2, f"s{row}")
        drawn, image = crops.mask(store, row, 1, key), crops.train(store, [row], [key])[0, 0].numpy()
        assert drawn is not None
        hu = np.pad(chest(SHAPES[row], row), sides, constant_values=chest(SHAPES[row], row).min())
        if drawn.any():
            values = np.sort(np.unique(image[drawn]))
            assert set(np.rint(values * 1000).astype(int)) <= set(np.unique(hu[padded].clip(-1000, 1000)).tolist())
        assert crops.mask(store, row, 0, key) is None


def test_whole_volumes_are_padded_to_patches_and_batched_only_where_they_fit(store: VolumeStore) -> None:
    whole = VolumeCrop(VolumeCropConfig(evaluation="whole", whole_multiple=8))
    assert whole.evaluate(store, [0, 4]).shape == (2, 1, 40, 32, 24)
    hu = scaled(np.pad(chest(SHAPES[0], 0), ((0, 0), (1, 1), (0, 0)), constant_values=chest(SHAPES[0], 0).min()))
    np.testing.assert_allclose(whole.evaluate(store, [0])[0, 0].numpy(), hu, atol=1e-6)
    with pytest.raises(UserError, match=r"whole volumes of 2 different shapes cannot be one batch.*one by one"):
        whole.evaluate(store, [0, 1])


def make(store: VolumeStore, workers: int = 0, world: World | None = None) -> TrainingLoader:
    crops = VolumeCrop(VolumeCropConfig(size=(16, 12, 8), flip=(0.5, 0, 0)))
    build = BatchBuilder(store, crops, seed=5, text=TextPlan("report"))
    return TrainingLoader(build, BatchOrder(paired_rows(store, "train", None, "all"), 2, seed=5), world, workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_any_step_can_be_the_first_and_workers_change_nothing(store: VolumeStore, workers: int) -> None:
    """Four pairs, two a step: epochs of two steps."""
    expected = [make(store).batch(step).batch for step in range(7)]
    found = [item.batch for item in make(store, workers).batches(3, 7)]
    assert len(found) == 4
    for item, other in zip(found, expected[3:], strict=True):
        assert item.images is not None
        assert other.images is not None
        assert item.images.shape == (2, 1, 16, 12, 8)
        assert torch.equal(item.images, other.images)
        assert item.texts == other.texts
        assert item.study_ids == other.study_ids
    assert not torch.equal(expected[0].images, expected[2].images), "another epoch, other crops"


def test_validation_sees_the_middle(store: VolumeStore) -> None:
    crops = VolumeCrop(VolumeCropConfig(size=16, flip=(1, 1, 1)))
    build = BatchBuilder(store, crops, seed=5, augment=False)
    assert torch.equal(build(np.arange(8), 3).images, crops.evaluate(store, range(8)))


def test_senseless_configurations() -> None:
    for values in ({"size": 0}, {"size": (4, 4)}, {"hu_range": (1, 1)}, {"flip": (2, 0, 0)}, {"evaluation": "all"}):
        with pytest.raises(UserError):
            VolumeCropConfig.from_values(values, "config.yaml")


def test_a_damaged_volume_is_said_where_the_training_is(store: VolumeStore, tmp_path: Path) -> None:
    source = ChestSource(SHAPES[:4], affine=AFFINE)
    broken = VolumeStore.open(prepare(source, tmp_path / "store", PrepareVolumesConfig(), workers=1).store)
    for file in (tmp_path / "store/shards/00000/volumes").iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="is damaged"):
        list(make(broken).batches(0, 1))
