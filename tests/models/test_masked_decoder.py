"""The decoder of masked-image modelling: tokens go to their places, hidden places are told apart by their place alone."""

from __future__ import annotations

import pytest
import torch

from lingula.models.masked_decoder import MaskedDecoder
from lingula.models.volume_config import VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder
from lingula.objectives.masked_image import hidden_patches, kept_patches, masked_image_error

PATCH, GRID = (2, 3, 4), (4, 2, 3)
ALL = torch.arange(24)[None]
CONFIG = VolumeEncoderConfig(embed_dim=24, depth=1, num_heads=2, patch_size=PATCH, drop_path=0.3)


def make(blocks: int = 2, width: int | None = None) -> MaskedDecoder:
    torch.manual_seed(0)
    return MaskedDecoder(CONFIG, blocks, width).eval()


def test_it_predicts_every_hidden_patch_and_skips_nothing_at_random() -> None:
    decoder = make(width=36).train()
    kept = kept_patches([1, 2], 24, 0.75)
    tokens = torch.randn(2, 6, 24)
    hidden = hidden_patches(kept, 24)
    predicted = decoder(tokens, kept, hidden, GRID)
    assert predicted.shape == (2, 18, 24)
    assert torch.equal(predicted, decoder(tokens, kept, hidden, GRID)), "no stochastic depth"


def test_without_blocks_a_token_decides_its_own_patch_and_hidden_ones_are_alike() -> None:
    decoder, kept = make(blocks=0), torch.tensor([[3, 10, 11]])
    tokens = torch.randn(1, 3, 24)
    predicted = decoder(tokens, kept, ALL, GRID)
    torch.testing.assert_close(predicted[:, kept[0]], decoder.voxels(decoder.norm(decoder.embed(tokens))))
    hidden = [number for number in range(24) if number not in kept[0].tolist()]
    torch.testing.assert_close(predicted[:, hidden], decoder.voxels(decoder.norm(decoder.mask_token)).expand(1, 21, 24))


def test_every_place_is_its_own_along_x_y_and_z() -> None:
    """By hand: raster number n lies at (n // 6, n // 3 % 2, n % 3), and each axis turns its third of a head's pairs."""
    decoder, kept, tokens = make(), kept_patches([7], 24, 0.5), torch.randn(1, 12, 24)
    places = torch.tensor([[number // 6, number // 3 % 2, number % 3] for number in range(24)])
    pairs = 12 // 6
    bands = torch.tensor([10_000.0 ** (-k / pairs) for k in range(pairs)])
    angles = (places[:, :, None] * bands).flatten(1)
    whole = decoder.mask_token.repeat(1, 24, 1)
    for number, token in zip(kept[0].tolist(), tokens[0], strict=True):
        whole[0, number] = decoder.embed(token)
    for block in decoder.blocks:
        whole = block(whole, angles)
    expected = decoder.voxels(decoder.norm(whole))
    torch.testing.assert_close(decoder(tokens, kept, ALL, GRID), expected)
    some = torch.tensor([[20, 3]])
    torch.testing.assert_close(decoder(tokens, kept, some, GRID), expected[:, some[0]], msg="in the order that is asked for")


def test_the_order_in_which_tokens_are_given_does_not_matter() -> None:
    decoder, kept = make(), kept_patches([5], 24, 0.5)
    tokens, order = torch.randn(1, 12, 24), torch.randperm(12)
    expected = decoder(tokens, kept, ALL, GRID)
    torch.testing.assert_close(decoder(tokens[:, order], kept[:, order], ALL, GRID), expected)


def test_hidden_places_see_the_visible_ones_and_know_where_they_are() -> None:
    decoder, kept = make(), torch.tensor([[0, 23]])
    predicted = decoder(torch.randn(1, 2, 24), kept, hidden_patches(kept, 24), GRID)[0]
    assert torch.unique((predicted * 1e4).round(), dim=0).shape[0] == 22, "no two hidden places get the same"


def test_encoder_and_decoder_learn_to_fill_in_what_is_hidden() -> None:
    """Volumes whose brightness is one number each: the visible patches tell the hidden ones, whichever are hidden."""
    torch.manual_seed(0)
    encoder, decoder = VolumeEncoder(CONFIG).train(), MaskedDecoder(CONFIG).train()
    optimiser = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    history = []
    for step in range(60):
        volumes = torch.rand(8, 1, 1, 1, 1).mul(2).sub(1).expand(8, 1, 8, 6, 12)
        kept = kept_patches([step * 8 + number for number in range(8)], 24, 0.75)
        hidden = hidden_patches(kept, 24)
        loss = masked_image_error(decoder(encoder.tokens(volumes, kept), kept, hidden, GRID), volumes, hidden, PATCH).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert sum(history[-5:]) < 0.2 * sum(history[:5])


def test_a_width_that_does_not_fit_the_heads() -> None:
    with pytest.raises(ValueError, match="2 heads do not share 32 features"):
        make(width=32)
