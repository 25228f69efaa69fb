from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.objectives import pseudo_masks
from lingula.objectives.pseudo_masks import body_mask, grey_of, masked_quantile


def slow(attention: np.ndarray, size: int, threshold: str, quantile: float, inclusive: bool, inside: np.ndarray) -> np.ndarray:
    """One image after the other, in numpy and float64; nearest."""
    times = size // attention.shape[-1]
    masks = []
    for heads, body in zip(attention, inside, strict=True):
        large = np.kron(heads.mean(axis=0), np.ones((times, times)))
        values = large[body]
        limit = {"quantile": np.quantile(values, quantile), "median": np.median(values), "mean": values.mean()}[threshold]
        masks.append(((large >= limit) if inclusive else (large > limit)) & body)
    return np.stack(masks)[:, None]


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("threshold", ["quantile", "median", "mean"])
@pytest.mark.parametrize("domain", ["image", "body"])
def test_equals_a_slow_reference(threshold: Any, inclusive: bool, domain: Any) -> None:
    generator = np.random.default_rng(0)
    attention = generator.integers(0, 40, (5, 4, 6, 6)) / 64.0
    image = torch.from_numpy(generator.random((5, 1, 24, 24)).round(2))
    inside = body_mask(grey_of(image, (24, 24)))[:, 0].numpy() if domain == "body" else np.ones((5, 24, 24), bool)
    found = pseudo_masks(torch.from_numpy(attention), (24, 24), threshold, 0.8, inclusive=inclusive, domain=domain, image=image)
    np.testing.assert_array_equal(found.numpy(), slow(attention, 24, threshold, 0.8, inclusive, inside))


@pytest.mark.parametrize(("cells", "positive"), [(8, 9), (7, 7)])
def test_as_many_cells_as_the_official_code_marks(cells: int, positive: int) -> None:
    """Strictly above the 0.85 quantile of a nearest enlargement: 9 of 64 cells, 7 of 49."""
    attention = torch.randperm(cells * cells, generator=torch.Generator().manual_seed(0)).reshape(1, 1, cells, cells).float()
    masks = pseudo_masks(attention, (32 * cells, 32 * cells))
    assert masks.sum() == positive * 32 * 32


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("threshold", ["quantile", "mean", "median", "gmm"])
def test_a_constant_map_gives_an_empty_mask(threshold: Any, inclusive: bool) -> None:
    attention = torch.full((2, 3, 4, 4), 0.0625)
    attention[1, :, 0, 0] = 0.5
    masks = pseudo_masks(attention, (16, 16), threshold, inclusive=inclusive)
    assert not masks[0].any()
    assert masks[1, 0, 0, 0] == 1


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    quantile=st.floats(0.05, 0.95),
    interpolation=st.sampled_from(["nearest", "bilinear"]),
    threshold=st.sampled_from(["quantile", "mean", "median", "gmm"]),
    smooth=st.sampled_from([None, "bilateral", "guided"]),
)
def test_properties(seed: int, quantile: float, interpolation: Any, threshold: Any, smooth: Any) -> None:
    """Between 0 and 1; strict lies within inclusive; the scale does not matter; an image does not depend on the others."""
    generator = torch.Generator().manual_seed(seed)
    attention = torch.randint(0, 9, (3, 2, 4, 5), generator=generator).float()
    image = torch.rand(3, 1, 20, 16, generator=generator)
    options = {"threshold": threshold, "quantile": quantile, "interpolation": interpolation, "image": image}
    strict, loose = (pseudo_masks(attention, (20, 16), inclusive=each, **options) for each in (False, True))
    assert (strict <= loose).all()
    assert set(strict.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(pseudo_masks(4 * attention, (20, 16), **options), strict)
    smoothed = pseudo_masks(attention, (20, 16), smooth=smooth, **options)
    assert smoothed.min() >= 0
    assert smoothed.max() <= 1
    alone = pseudo_masks(attention[1:2], (20, 16), smooth=smooth, **options | {"image": image[1:2]})
    torch.testing.assert_close(alone, smoothed[1:2])


def test_two_clusters_are_told_apart_by_the_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    attention = 0.1 + 0.01 * torch.randn(1, 1, 16, 16, generator=generator)
    attention[0, 0, 3:6, 4:8] += 0.5
    expected = torch.zeros(1, 1, 16, 16)
    expected[0, 0, 3:6, 4:8] = 1
    assert torch.equal(pseudo_masks(attention, (16, 16), "gmm"), expected)


def test_each_head_has_its_own_mask() -> None:
    attention = torch.zeros(1, 2, 4, 4)
    attention[0, 0, 0, 0] = attention[0, 1, 3, 3] = 1
    masks = pseudo_masks(attention, (4, 4), per_head=True)
    assert masks.shape == (1, 2, 4, 4)
    assert (masks[0, 0].nonzero().tolist(), masks[0, 1].nonzero().tolist()) == ([[0, 0]], [[3, 3]])


def test_half_precision_gives_the_masks_of_full_precision_and_no_gradient() -> None:
    attention = torch.rand(2, 2, 8, 8).bfloat16().requires_grad_()
    masks = pseudo_masks(attention, (64, 64))
    assert masks.dtype == torch.float32
    assert not masks.requires_grad
    assert torch.equal(masks, pseudo_masks(attention.float(), (64, 64)))


def test_the_body_is_what_otsu_says() -> None:
    """Against the slow search for the cut with the largest variance between the classes."""
    generator = np.random.default_rng(0)
    image = np.where(
        generator.random((30, 30)) < 0.3, generator.normal(0.2, 0.05, (30, 30)), generator.normal(0.7, 0.1, (30, 30))
    )
    grey = grey_of(torch.from_numpy(image)[None, None], (30, 30))
    levels = (grey[0, 0] * 255).round().numpy()

    def between(cut: int) -> float:
        low, high = levels[levels <= cut], levels[levels > cut]
        return 0.0 if not len(low) or not len(high) else len(low) * len(high) * (low.mean() - high.mean()) ** 2

    np.testing.assert_array_equal(body_mask(grey)[0, 0].numpy(), levels > max(range(255), key=between))
    assert body_mask(torch.zeros(1, 1, 4, 4)).all(), "a black image is body all over"


def test_masked_quantile_equals_numpy() -> None:
    generator = np.random.default_rng(0)
    maps, inside = generator.normal(size=(3, 2, 5, 7)), generator.random((3, 2, 5, 7)) < 0.6
    inside[2, 1] = False
    found = masked_quantile(torch.from_numpy(maps), torch.from_numpy(inside), 0.85)[..., 0, 0].numpy()
    for image in range(3):
        for mask in range(2):
            own = maps[image, mask][inside[image, mask]]
            expected = np.quantile(own, 0.85) if len(own) else np.nan
            np.testing.assert_allclose(found[image, mask], expected)


@pytest.mark.parametrize("smooth", ["bilateral", "guided"])
def test_smoothing_rounds_a_jagged_edge_and_keeps_the_middle(smooth: Any) -> None:
    attention = torch.zeros(1, 1, 8, 8)
    attention[0, 0, 2:6, 2:6] = 1
    image = torch.zeros(1, 1, 128, 128)
    image[..., 30:98, 30:98] = 1
    mask = pseudo_masks(attention, (128, 128), "mean", image=image, smooth=smooth)
    assert mask[0, 0, 64, 64] > 0.99
    assert mask[0, 0, 5, 5] < 0.01
    edge = mask[0, 0, 28:34, 64]
    assert ((edge > 0.01) & (edge < 0.99)).any()


def test_the_guided_edge_follows_the_image() -> None:
    """The map ends at 32, the image's own edge is at 34: the guided mask steps where the image does."""
    attention = torch.zeros(1, 1, 8, 8)
    attention[0, 0, :, :2] = 1
    image = torch.zeros(1, 1, 128, 128)
    image[..., :34] = 1
    mask = pseudo_masks(attention, (128, 128), "mean", image=image, smooth="guided")[0, 0, 64]
    assert (mask[:-1] - mask[1:]).argmax() == 33


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "best"}, "one of quantile, mean, median, gmm"),
        ({"quantile": 1.5}, "between 0 and 1"),
        ({"domain": "body"}, "give image"),
        ({"smooth": "guided"}, "give image"),
        ({"image": torch.zeros(2, 1, 4, 4)}, "of 1 needed"),
        ({"interpolation": "cubic"}, "one of nearest, bilinear"),
    ],
)
def test_bad_requests_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pseudo_masks(torch.rand(1, 1, 4, 4), (8, 8), **options)
    with pytest.raises(ValueError, match="attention"):
        pseudo_masks(torch.rand(1, 4, 4), (8, 8))
