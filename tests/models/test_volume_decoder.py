from __future__ import annotations

import pytest
import torch

from lingula.models.volume_decoder import LightVolumeDecoder, LinearVolumeDecoder, UnetVolumeDecoder, up_steps

GRID, FEATURES = (4, 3, 2), 12


@pytest.mark.parametrize("patch", [(8, 8, 8), (2, 2, 4), (6, 4, 1), (1, 1, 1)])
@pytest.mark.parametrize("kind", [LightVolumeDecoder, UnetVolumeDecoder])
def test_any_patch_comes_back_to_the_size_of_the_volume(patch: tuple[int, int, int], kind: type) -> None:
    sides = [a * b for a, b in zip(GRID, patch, strict=True)]
    decoder = kind(FEATURES, 3, patch, 4)
    logits = decoder(torch.randn(2, 1, *sides), torch.randn(2, FEATURES, *GRID))
    assert logits.shape == (2, 3, *sides)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_the_linear_decoder_is_one_matrix_from_a_token_to_its_own_voxels() -> None:
    torch.manual_seed(0)
    patch = (2, 3, 4)
    decoder, tokens = LinearVolumeDecoder(FEATURES, 2, patch), torch.randn(1, FEATURES, *GRID)
    sides = [a * b for a, b in zip(GRID, patch, strict=True)]
    found = decoder(torch.zeros(1, 1, *sides), tokens)
    assert found.shape == (1, 2, *sides)
    weight = decoder.head.weight.reshape(2, *patch, FEATURES)
    bias = decoder.head.bias.reshape(2, *patch)
    for x, y, z in [(0, 0, 0), (3, 1, 0), (2, 2, 1)]:
        own = torch.einsum("cijkf,f->cijk", weight, tokens[0, :, x, y, z]) + bias
        torch.testing.assert_close(found[0, :, 2 * x : 2 * x + 2, 3 * y : 3 * y + 3, 4 * z : 4 * z + 4], own)


@pytest.mark.parametrize("patch", [(8, 8, 8), (2, 2, 4), (6, 4, 1), (15, 1, 2)])
def test_the_steps_multiply_to_the_patch(patch: tuple[int, int, int]) -> None:
    steps = torch.tensor(up_steps(patch))
    assert tuple(steps.prod(dim=0).tolist()) == patch
    assert all(max(step) in (2, 3, 5) for step in steps.tolist())


def test_the_light_decoder_sees_tokens_alone_and_the_unet_voxels_too() -> None:
    torch.manual_seed(0)
    tokens, volumes = torch.randn(1, FEATURES, *GRID), torch.randn(2, 1, 16, 12, 8)
    light, unet = LightVolumeDecoder(FEATURES, 2, (4, 4, 4), 4), UnetVolumeDecoder(FEATURES, 2, (4, 4, 4), 4)
    with torch.no_grad():
        torch.testing.assert_close(light(volumes[:1], tokens), light(volumes[1:], tokens))
        assert not torch.allclose(unet(volumes[:1], tokens), unet(volumes[1:], tokens))
        assert not torch.allclose(unet(volumes[:1], tokens), unet(volumes[:1], 2 * tokens + 1))
