from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.evaluation.grounding.heat_maps import phrase_grids, place_grids, smooth_grids


def test_phrase_grids_are_cosines_of_cells() -> None:
    rng = np.random.default_rng(0)
    dense, latents = rng.normal(size=(5, 3, 4)), rng.normal(size=(2, 5))
    grids = phrase_grids(dense, latents)
    assert grids.shape == (2, 3, 4)
    assert grids[1, 2, 3] == pytest.approx(sum(latents[1, i] * dense[i, 2, 3] for i in range(5)))


@pytest.mark.parametrize("sigma", [0.4, 1.5, 3.0])
@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 7, 5)])
def test_smoothing_is_scipys(shape: tuple[int, int, int], sigma: float) -> None:
    grids = np.random.default_rng(1).normal(size=shape)
    np.testing.assert_allclose(smooth_grids(grids, sigma), gaussian_filter(grids, (0, sigma, sigma), mode="reflect"), atol=1e-12)
    assert smooth_grids(grids, 0) is grids


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.sampled_from([1.0, 0.875, 0.7, 0.5]))
def test_a_place_in_the_image_comes_back_to_itself(height: int, width: int, crop: float) -> None:
    """What the model's own transform sees, laid back, are the image's pixels where they were seen, else the nearest ones."""
    rng = np.random.default_rng(height * 100 + width)
    image = rng.integers(0, 255, (height, width), dtype=np.uint8)
    side = max(round(max(height, width) * crop), 1)
    transform = ImageTransform(AugmentConfig(crop=crop, mean=0.0, std=1.0), side)
    seen = transform.evaluate([image])[:, 0].numpy() * 255
    placed = place_grids(seen, height, width, crop)[0]
    longer = max(height, width)
    start = (longer - side) // 2
    rows, columns = (np.arange(length) + (longer - length) // 2 - start for length in (height, width))
    inside = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))[None]
    np.testing.assert_allclose(placed[inside], image[inside], atol=1e-3)
    assert inside.all() or crop < 1
    nearest = placed[np.clip(np.arange(height), np.flatnonzero(inside.any(1))[0], np.flatnonzero(inside.any(1))[-1])]
    nearest = nearest[:, np.clip(np.arange(width), np.flatnonzero(inside.any(0))[0], np.flatnonzero(inside.any(0))[-1])]
    np.testing.assert_array_equal(placed, nearest)


def test_between_cells_the_map_is_bilinear() -> None:
    grid = np.array([[[0.0, 4.0]]], np.float32).repeat(2, axis=1)
    placed = place_grids(grid, 4, 4)[0]
    assert placed[0].tolist() == [0, 1, 3, 4]
    by_torch = torch.nn.functional.interpolate(torch.from_numpy(grid)[None], (4, 4), mode="bilinear")[0, 0]
    np.testing.assert_array_equal(placed, by_torch.numpy())
