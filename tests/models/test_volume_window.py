from __future__ import annotations

import itertools

import pytest
import torch

from lingula.core.errors import UserError
from lingula.models.volume_config import VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder
from lingula.models.volume_window import encode_windows


@pytest.fixture(scope="module")
def encoder() -> VolumeEncoder:
    torch.manual_seed(0)
    return VolumeEncoder(VolumeEncoderConfig(embed_dim=24, depth=1, num_heads=2, patch_size=2, layer_scale=1.0)).eval()


def test_each_window_is_encoded_for_itself(encoder: VolumeEncoder) -> None:
    volumes = torch.randn(2, 1, 8, 12, 4)
    tokens = encode_windows(encoder, volumes, (4, 6, 4))
    assert tokens.shape == (2, 24, 4, 6, 2)
    for x, y in itertools.product((0, 4), (0, 6)):
        alone = encoder(volumes[:, :, x : x + 4, y : y + 6])
        torch.testing.assert_close(tokens[:, :, x // 2 : x // 2 + 2, y // 2 : y // 2 + 3], alone)


def test_a_last_window_that_does_not_fit_ends_at_the_end_and_wins(encoder: VolumeEncoder) -> None:
    volumes = torch.randn(1, 1, 10, 4, 4)
    tokens = encode_windows(encoder, volumes, 4)
    first, second, last = (encoder(volumes[:, :, start : start + 4]) for start in (0, 4, 6))
    torch.testing.assert_close(tokens, torch.cat([first, second[:, :, :1], last], dim=2))


def test_a_window_of_the_whole_volume_is_no_window(encoder: VolumeEncoder) -> None:
    volumes = torch.randn(1, 1, 4, 6, 8)
    torch.testing.assert_close(encode_windows(encoder, volumes, (4, 6, 8)), encoder(volumes))


def test_gradients_reach_every_window(encoder: VolumeEncoder) -> None:
    volumes = torch.randn(1, 1, 10, 4, 4, requires_grad=True)
    encode_windows(encoder, volumes, 4).square().sum().backward()
    assert (volumes.grad.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (6, "a window of 6x6x6 voxels is larger than the volume of 8x4x4. Give no window"),
        ((8, 3, 4), "a window of 8x3x4 voxels cannot be cut into patches of 2x2x2"),
        (0, "a window of 0x0x0 voxels cannot be cut"),
        ((2, 2), "a window has 3 sides, not 2"),
    ],
)
def test_windows_that_do_not_fit(encoder: VolumeEncoder, window: int | tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        encode_windows(encoder, torch.zeros(1, 1, 8, 4, 4), window)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a volume of 9x4x4 voxels cannot be cut"):
        encode_windows(encoder, torch.zeros(1, 1, 9, 4, 4), 4)
