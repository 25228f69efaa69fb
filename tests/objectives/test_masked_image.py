"""Masked-image modelling: which voxels are in the loss. The grids here are not cubic, so that swapped axes cannot hide."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from lingula.core.patches import chosen_patches, patches_of, volumes_of
from lingula.models.volume_config import VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder
from lingula.objectives.masked_image import hidden_patches, kept_patches, masked_image_error

PATCH, GRID, SHAPE = (2, 3, 4), (4, 2, 3), (8, 6, 12)


def volumes(batch: int = 2) -> Tensor:
    return torch.randn(batch, 1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def encoder() -> VolumeEncoder:
    torch.manual_seed(1)
    return VolumeEncoder(VolumeEncoderConfig(embed_dim=24, depth=1, num_heads=2, patch_size=PATCH, drop_path=0.0)).double().eval()


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_no_visible_voxel_is_in_the_loss_and_every_hidden_one_is(share: float) -> None:
    """Gradients tell: the encoder's tokens depend on the visible voxels alone, the loss's targets are all the others.

    nnSSL reads its mask in another order of the axes than its tokens: there 23 % of the loss is on voxels that were visible.
    """
    given = volumes().requires_grad_()
    kept = kept_patches([3, 8], 24, share)
    encoder().tokens(given, kept).square().sum().backward()
    visible = given.grad != 0
    given.grad = None
    hidden = hidden_patches(kept, 24)
    predicted = torch.randn(2, hidden.shape[1], 24, dtype=torch.float64)
    masked_image_error(predicted, given, hidden, PATCH).sum().backward()
    in_the_loss = given.grad != 0
    assert torch.equal(in_the_loss, ~visible)
    assert in_the_loss.double().mean().item() == pytest.approx(share)


def test_predictions_belong_to_the_places_of_their_tokens() -> None:
    """A prediction that is right everywhere but in one patch costs something exactly where that patch is hidden."""
    given, kept = volumes(1), kept_patches([5], 24, 0.5)
    hidden = hidden_patches(kept, 24)
    for number, place in enumerate(itertools.product(*map(range, GRID))):
        x, y, z = (slice(at * step, (at + 1) * step) for at, step in zip(place, PATCH, strict=True))
        wrong = given.clone()
        wrong[:, :, x, y, z] += 2.0
        error = masked_image_error(chosen_patches(patches_of(wrong, PATCH), hidden), given, hidden, PATCH)
        assert error.item() == pytest.approx(0.0 if number in kept[0].tolist() else 4.0 / 12), place


def test_the_error_is_the_mean_over_hidden_voxels_of_each_volume() -> None:
    given, kept = volumes(), kept_patches([1, 2], 24, 0.75)
    predicted = torch.randn(2, 24, 24, dtype=torch.float64)
    slow = []
    for volume, guess, numbers in zip(given, predicted, kept.tolist(), strict=True):
        squares = []
        for number, (i, j, k) in enumerate(itertools.product(*map(range, GRID))):
            if number in numbers:
                continue
            for at, (x, y, z) in enumerate(itertools.product(*map(range, PATCH))):
                squares.append((guess[number, at] - volume[0, 2 * i + x, 3 * j + y, 4 * k + z]) ** 2)
        slow.append(torch.stack(squares).mean())
    hidden = hidden_patches(kept, 24)
    error = masked_image_error(chosen_patches(predicted, hidden), given, hidden, PATCH)
    torch.testing.assert_close(error, torch.stack(slow))


def test_masks_depend_on_their_key_alone() -> None:
    together, alone = kept_patches([4, 9, 4], 24, 0.75), kept_patches([9], 24, 0.75)
    assert torch.equal(together[1], alone[0])
    assert torch.equal(together[0], together[2])
    assert not torch.equal(together[0], together[1])
    assert together.shape == (3, 6)
    assert all(row == sorted(set(row)) for row in together.tolist())
    for row, hidden in zip(together.tolist(), hidden_patches(together, 24).tolist(), strict=True):
        assert hidden == [number for number in range(24) if number not in row]


def test_every_patch_is_hidden_as_often() -> None:
    counts = hidden_patches(kept_patches(range(2000), 24, 0.75), 24).flatten().bincount().double() / 2000
    assert counts.min() > 0.71
    assert counts.max() < 0.79


@pytest.mark.parametrize(("patches", "share", "count"), [(24, 0.75, 6), (8, 0.99, 1), (8, 0.01, 7), (2, 0.5, 1)])
def test_something_is_always_hidden_and_something_visible(patches: int, share: float, count: int) -> None:
    assert kept_patches([0], patches, share).shape == (1, count)


def test_bad_input() -> None:
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="share between 0 and 1"):
            kept_patches([0], 24, share)
    with pytest.raises(ValueError, match="at least two patches"):
        kept_patches([0], 1, 0.5)
    with pytest.raises(ValueError, match="cannot be cut"):
        patches_of(volumes(), (3, 3, 4))
    with pytest.raises(ValueError, match="numbers to predict"):
        masked_image_error(torch.zeros(2, 11, 24), volumes(), kept_patches([0, 1], 24, 0.5), PATCH)


def test_patches_are_put_together_where_they_were_cut() -> None:
    given = torch.randn(2, 3, *SHAPE)
    assert torch.equal(volumes_of(patches_of(given, PATCH), GRID, PATCH), given)
    for patches, grid in ((patches_of(given, PATCH), (4, 2, 2)), (torch.zeros(2, 24, 25), GRID)):
        with pytest.raises(ValueError, match="make no grid"):
            volumes_of(patches, grid, PATCH)
