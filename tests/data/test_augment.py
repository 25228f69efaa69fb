from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.core.types import Pixels
from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig

STILL = AugmentConfig(rotation=0, translation=0, scale=(1, 1), brightness=0, contrast=0, gamma=0, mean=0, std=1)


def noise(count: int, side: int = 24, dtype: type = np.uint8) -> list[Pixels]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, np.iinfo(dtype).max, (side, side), dtype=dtype, endpoint=True) for _ in range(count)]


def keys(count: int, epoch: int = 0) -> list[tuple[int | str, ...]]:
    return [(0, epoch, f"row-{row}") for row in range(count)]


def still(**changes: object) -> ImageTransform:
    return ImageTransform(STILL.model_copy(update=changes), 24)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_without_strength_training_equals_inference(dtype: type) -> None:
    pixels = noise(3, dtype=dtype)
    expected = np.stack(pixels)[:, None] / np.iinfo(dtype).max
    transform = still()
    np.testing.assert_allclose(transform.evaluate(pixels).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(transform.train(pixels, keys(3)).numpy(), expected, atol=3e-4 if dtype is np.uint16 else 1e-5)


def test_normalisation_is_the_configured_one() -> None:
    transform = ImageTransform(STILL.model_copy(update={"mean": 0.4, "std": 0.2}), 24)
    white = [np.full((24, 24), 255, np.uint8)]
    assert transform.evaluate(white).unique().item() == pytest.approx(3.0)
    assert transform.train(white, keys(1)).max().item() == pytest.approx(3.0)


@given(batch=st.permutations(range(6)), size=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_a_sample_does_not_depend_on_its_batch(batch: list[int], size: int) -> None:
    config = AugmentConfig(erasing=0.5)
    pixels, names = noise(6), keys(6, epoch=3)
    alone = [ImageTransform(config, 20).train([p], [k])[0] for p, k in zip(pixels, names, strict=True)]
    chosen = batch[:size]
    together = ImageTransform(config, 20).train([pixels[row] for row in chosen], [names[row] for row in chosen])
    assert all(torch.equal(image, alone[row]) for image, row in zip(together, chosen, strict=True))


def test_large_batches_are_cut_without_a_seam() -> None:
    pixels, names = noise(40, side=96), keys(40)
    transform = ImageTransform(AugmentConfig(), 96)
    whole = transform.train(pixels, names)
    assert torch.equal(whole[25:], transform.train(pixels[25:], names[25:]))


def test_epoch_seed_and_sample_change_the_draw() -> None:
    transform = ImageTransform(AugmentConfig(), 24)
    image = noise(1) * 4
    four = transform.train(image, [(0, 0, "a"), (0, 1, "a"), (1, 0, "a"), (0, 0, "b")])
    assert all(not torch.equal(four[i], four[j]) for i in range(4) for j in range(i))


def centroid(image: torch.Tensor) -> tuple[float, float]:
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    weight = image[0] / image.sum()
    return float((rows * weight).sum()) - 11.5, float((columns * weight).sum()) - 11.5


def blob(row: int, column: int) -> list[Pixels]:
    pixels = np.zeros((24, 24), np.uint8)
    pixels[row - 1 : row + 2, column - 1 : column + 2] = 200
    return [pixels]


def over_draws(transform: ImageTransform, image: list[Pixels], measure: Callable[[torch.Tensor], float]) -> np.ndarray:
    return np.array([measure(transform.train(image, [(0, 0, f"{draw}")])[0]) for draw in range(200)])


def test_rotation_stays_within_its_limit_and_goes_both_ways() -> None:
    def angle(image: torch.Tensor) -> float:
        down, right = centroid(image)
        return math.degrees(math.atan2(down, right))

    angles = over_draws(still(rotation=15.0), blob(12, 19), angle)
    start = math.degrees(math.atan2(0.5, 7.5))
    assert np.abs(angles - start).max() < 16
    assert angles.min() - start < -13
    assert angles.max() - start > 13


def test_translation_and_scale_stay_within_their_limits() -> None:
    moved = over_draws(still(translation=0.1), blob(12, 12), lambda image: centroid(image)[1] - 0.5)
    assert np.abs(moved).max() < 2.41
    assert moved.min() < -2
    assert moved.max() > 2
    reach = over_draws(still(scale=(0.8, 1.25)), blob(12, 18), lambda image: centroid(image)[1])
    assert 6.5 * 0.8 - 0.15 < reach.min() < 5.6
    assert 7.7 < reach.max() < 6.5 * 1.25 + 0.15


def test_an_image_is_never_flipped() -> None:
    strong = AugmentConfig(rotation=30, translation=0.1, scale=(0.8, 1.2), mean=0, std=1, brightness=0, contrast=0, gamma=0)
    sides = over_draws(ImageTransform(strong, 24), blob(12, 20), lambda image: centroid(image)[1])
    assert sides.min() > 0


def test_tone_keeps_order_and_range() -> None:
    ramp = [np.tile(np.linspace(0, 255, 24).astype(np.uint8), (24, 1))]
    transform = still(brightness=0.3, contrast=0.5, gamma=0.5)
    images = torch.cat([transform.train(ramp, [(0, 0, str(draw))]) for draw in range(50)])
    assert images.min() >= 0
    assert images.max() <= 1
    assert (images.diff(dim=-1) >= -1e-6).all()
    middle = images[:, 0, 12, 12]
    assert middle.std() > 0.05


def test_erasing_paints_one_rectangle_of_limited_area() -> None:
    white = [np.full((24, 24), 255, np.uint8)]
    areas = over_draws(still(erasing=1.0), white, lambda image: float((image == 0.5).float().mean()))
    assert areas.min() > 0.005
    assert areas.max() < 0.23
    assert (over_draws(still(erasing=0.0), white, lambda image: float(image.min())) == 1).all()
    image = still(erasing=1.0).train(white, keys(1))[0, 0] == 0.5
    rows, columns = image.any(1).sum(), image.any(0).sum()
    assert image.sum() == rows * columns


def test_inference_pads_to_a_square_and_crops_the_centre() -> None:
    wide = np.full((12, 24), 255, np.uint8)
    image = still().evaluate([wide])[0, 0]
    assert image[:6].max() == image[18:].max() == 0
    assert image[6:18].min() == 1
    framed = np.zeros((48, 48), np.uint8)
    framed[12:36, 12:36] = 255
    assert ImageTransform(STILL.model_copy(update={"crop": 0.5}), 24).evaluate([framed]).min() == 1


def test_inference_takes_images_of_any_size_together() -> None:
    transform = still()
    pixels = [noise(1, 24)[0], noise(1, 40)[0], noise(1, 24, np.uint16)[0]]
    together = transform.evaluate(pixels)
    assert together.shape == (3, 1, 24, 24)
    assert all(torch.equal(together[row], transform.evaluate([image])[0]) for row, image in enumerate(pixels))


def test_shrinking_filters_before_it_samples() -> None:
    """A fine checkerboard turns grey instead of into a pattern that is not there, in training as in inference."""
    board = [(np.indices((96, 96)).sum(0) % 2 * 255).astype(np.uint8)]
    transform = still()
    for image in (transform.evaluate(board), transform.train(board, keys(1))):
        assert (image - 0.5).abs().max() < 0.05


STRONG = AugmentConfig(
    rotation=40, translation=0.15, scale=(0.7, 1.4), brightness=0, contrast=0, gamma=0, mean=0, std=1, crop=0.8
)


def agree(masks: torch.Tensor, images: torch.Tensor) -> bool:
    """Whether masks are where their bright images are, up to rounding at the very edge."""
    edge = (images.amax(dim=(2, 3), keepdim=True) / 2).clamp(min=1e-3, max=0.5)
    return bool(((masks == 1) == (images >= edge))[(images - edge).abs() > 1e-5].all())


@pytest.mark.parametrize(("side", "seen"), [(48, 48), (48, 20), (32, 64)])
def test_the_masks_of_bright_squares_stay_on_them(side: int, seen: int) -> None:
    """Wherever rotation, scale, shift and crop bring a square, its mask is there, and so is that of another class."""
    transform = ImageTransform(STRONG, seen)
    generator = np.random.default_rng(0)
    pixels, stacks = [], []
    for _ in range(40):
        top, left = generator.integers(0, side // 2, 2)
        mask = np.zeros((2, side, side), bool)
        mask[0, top : top + side // 3, left : left + side // 3] = True
        mask[1] = mask[0, ::-1, ::-1]
        pixels.append(mask[0].astype(np.uint8) * 255)
        stacks.append(mask)
    names = [(0, 0, str(row)) for row in range(40)]
    images, masks = transform.train_with_masks(pixels, stacks, names)
    assert torch.equal(images, transform.train(pixels, names))
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert agree(masks[:, :1], images)
    turned, _ = transform.train_with_masks([stack[1].astype(np.uint8) * 255 for stack in stacks], stacks, names)
    assert agree(masks[:, 1:], turned)
    assert masks[:, 0].flatten(1).any(1).sum() > 30, "some leave the view, most do not"
    assert not torch.equal(masks[0], masks[1])


def test_in_evaluation_masks_are_padded_cropped_and_resized_as_their_images() -> None:
    transform = ImageTransform(STILL.model_copy(update={"crop": 0.5}), 24)
    mask = np.zeros((2, 40, 64), bool)
    mask[0, 10:30, 20:44] = True
    mask[1, :4] = True
    seen, image = transform.evaluate_masks([mask]), transform.evaluate([mask[0].astype(np.uint8) * 255])
    assert seen.shape == (1, 2, 24, 24)
    assert torch.equal(seen[0, 0] == 1, image[0, 0] >= 0.5)
    assert not seen[0, 1].any(), "what the crop cuts off is not to be found"


def test_a_thin_structure_survives_shrinking() -> None:
    mask = np.zeros((1, 96, 96), bool)
    mask[0, 42] = True
    for seen in (still().evaluate_masks([mask]), still().train_with_masks([mask[0].astype(np.uint8)], [mask], keys(1))[1]):
        rows = seen[0, 0].any(1).nonzero().flatten().tolist()
        assert rows == [10]
        assert seen[0, 0, 10].all()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"masks of \(12, 12\) for an image of \(24, 24\)"):
        still().train_with_masks(noise(1), [np.zeros((1, 12, 12), bool)], keys(1))
