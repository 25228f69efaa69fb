from __future__ import annotations

import itertools

import numpy as np
import pytest
import slow_volume_encoder
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lingula.core.errors import UserError
from lingula.models.volume_block import DropPath
from lingula.models.volume_config import SIZES, VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder

SMALL = {"embed_dim": 36, "depth": 2, "num_heads": 3, "patch_size": (2, 3, 4), "layer_scale": 0.7}
SHAPE = (8, 6, 12)
"""A grid of 4 x 2 x 3 patches."""


def make(**options: object) -> VolumeEncoder:
    torch.manual_seed(0)
    encoder = VolumeEncoder(VolumeEncoderConfig(**{**SMALL, **options}))
    with torch.no_grad():
        for value in encoder.parameters():
            value.add_(0.2 * torch.randn_like(value))
    return encoder.eval()


def volumes(count: int = 2) -> Tensor:
    return torch.randn(count, 1, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("registers", [0, 2])
def test_equals_a_slow_float64_encoder_on_a_grid_that_is_not_cubic(registers: int) -> None:
    encoder, given = make(register_tokens=registers), volumes()
    grid = encoder(given)
    assert grid.shape == (2, 36, 4, 2, 3)
    for volume, found in zip(given, grid, strict=True):
        expected = slow_volume_encoder.encode(encoder, volume.double().numpy())
        np.testing.assert_allclose(found.detach().flatten(1).T.numpy(), expected, atol=2e-5)


def test_a_patch_stays_at_its_place() -> None:
    """Without branches the token of each patch is the norm of its own projection: axes cannot be swapped unseen."""
    encoder, given = make(layer_scale=0.0), volumes(1)
    with torch.no_grad():
        for block in encoder.eva.blocks:
            block.gamma_1.zero_()
            block.gamma_2.zero_()
        grid = encoder(given)[0]
        for x, y, z in itertools.product(range(4), range(2), range(3)):
            patch = given[:, :, 2 * x : 2 * x + 2, 3 * y : 3 * y + 3, 4 * z : 4 * z + 4]
            alone = encoder.eva.norm(encoder.down_projection.proj(patch).flatten(1))[0]
            torch.testing.assert_close(grid[:, x, y, z], alone)


@pytest.mark.parametrize("registers", [0, 2])
def test_dropped_tokens_are_as_if_nobody_could_ask_them(registers: int) -> None:
    encoder, given = make(register_tokens=registers), volumes()
    kept = torch.tensor([[0, 5, 6, 17, 23], [22, 3, 4, 11, 9]])
    tokens = encoder.tokens(given, kept)
    assert tokens.shape == (2, 5, 36)
    for volume, numbers, found in zip(given, kept.tolist(), tokens, strict=True):
        expected = slow_volume_encoder.encode(encoder, volume.double().numpy(), seen=numbers)[numbers]
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=2e-5)


def test_keeping_all_tokens_in_any_order_changes_nothing_but_the_order() -> None:
    encoder, given = make(), volumes()
    order = torch.stack([torch.randperm(24), torch.randperm(24)])
    expected = torch.take_along_dim(encoder.tokens(given), order[..., None], dim=1)
    torch.testing.assert_close(encoder.tokens(given, order), expected, atol=1e-5, rtol=1e-5)


def test_what_is_dropped_has_no_influence() -> None:
    encoder, given = make(), volumes(1)
    other = given.clone()
    other[:, :, 6:] += 9
    kept = torch.tensor([[0, 7, 15]])
    assert torch.equal(encoder.tokens(given, kept), encoder.tokens(other, kept))
    assert not torch.allclose(encoder.tokens(given)[:, kept[0]], encoder.tokens(other)[:, kept[0]])


def test_drop_path_works_in_training_alone() -> None:
    encoder, given = make(drop_path=0.5), volumes()
    assert [block.drop_path.probability for block in encoder.eva.blocks] == [0, 0.5]
    assert torch.equal(encoder(given), encoder(given)), "evaluation has no chance in it"
    assert torch.equal(encoder(given), make(drop_path=0.0)(given))
    encoder.train()
    torch.manual_seed(0)
    assert not torch.equal(encoder(given), encoder(given))


def test_a_branch_is_dropped_for_whole_samples_and_scaled_where_it_stays() -> None:
    torch.manual_seed(0)
    out = DropPath(0.25).train()(torch.ones(4000, 3, 2))
    assert torch.equal(out, out[:, :1, :1].expand_as(out))
    assert out.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert (out[:, 0, 0] == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("kept", [None, [[1, 4, 9, 20], [0, 2, 3, 23]]])
def test_checkpointing_gives_the_same_gradients(kept: list[list[int]] | None) -> None:
    gradients = []
    for checkpointing in (False, True):
        encoder, given = make(checkpointing=checkpointing, drop_path=0.5).train(), volumes().requires_grad_()
        torch.manual_seed(3)
        encoder.tokens(given, None if kept is None else torch.tensor(kept)).square().sum().backward()
        gradients.append([given.grad, *[value.grad for value in encoder.parameters()]])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


def test_checkpointing_keeps_less() -> None:
    """Counts what autograd keeps between the passes."""
    kept = []
    for checkpointing in (False, True):
        sizes: list[int] = []

        def pack(value: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(value.numel())
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            make(checkpointing=checkpointing, depth=6).train()(volumes()).sum()
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 4


def test_sizes_of_the_published_model() -> None:
    with torch.device("meta"):
        encoder = VolumeEncoder(SIZES["M"])
    millions = {name: sum(value.numel() for value in part.parameters()) / 1e6 for name, part in encoder.named_children()}
    assert millions == {"down_projection": pytest.approx(0.443232), "eva": pytest.approx(143.642304)}
    assert sum(value.numel() for value in encoder.parameters()) / 1e6 == pytest.approx(144.09, abs=0.005)
    assert SIZES["M"].hidden_dim == 2304
    assert SIZES["M"].grid((192, 192, 192)) == (24, 24, 24)


@pytest.mark.parametrize(
    ("side", "tokens", "tera"), [(96, 1728, 0.66), (128, 4096, 2.10), (160, 8000, 5.83), (192, 13824, 14.53)]
)
def test_operations_of_the_published_sizes(side: int, tokens: int, tera: float) -> None:
    assert np.prod(SIZES["M"].grid((side,) * 3)) == tokens
    assert SIZES["M"].forward_flops((side,) * 3) / 1e12 == pytest.approx(tera, rel=0.005)


@pytest.mark.parametrize(("registers", "kept"), [(0, None), (2, [[1, 4, 9, 20, 21, 22]])])
def test_counted_operations_are_those_that_torch_counts(registers: int, kept: list[list[int]] | None) -> None:
    encoder = make(register_tokens=registers)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        encoder.tokens(volumes(1), None if kept is None else torch.tensor(kept))
    assert counter.get_total_flops() == encoder.config.forward_flops(SHAPE, keep=1 if kept is None else 6 / 24)


def test_start_of_the_weights() -> None:
    encoder = VolumeEncoder(VolumeEncoderConfig(embed_dim=96, depth=2, num_heads=4))
    attention = encoder.eva.blocks[1].attn
    assert attention.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert attention.proj.weight.std().item() == pytest.approx(0.02 / 2, rel=0.05), "divided by sqrt(2 x 2) in the second block"
    assert encoder.down_projection.proj.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.05)
    assert attention.k_proj.bias is None
    assert (attention.v_proj.bias == 0).all()
    assert (encoder.eva.blocks[0].gamma_2 == 0.1).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 8, 7, 12), r"a volume of 8x7x12 voxels cannot be cut into patches of 2x3x4. Crop to 8x6x12 or pad to 8x9x12"),
        ((1, 1, 1, 6, 12), r"Crop to 2x6x12 or pad to 2x6x12"),
        ((2, 3, 8, 6, 12), r"volumes have 3 channels, the encoder reads 1. Give one grey value per voxel"),
        ((1, 8, 6, 12), r"volumes must be `batch channel x y z`, not \(1, 8, 6, 12\). Add the missing axes"),
    ],
)
def test_volumes_that_cannot_be_read(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()(torch.zeros(shape))


def test_patches_that_are_not_there() -> None:
    kept = torch.tensor([[0, 24]])
    with pytest.raises(IndexError, match="index 24 is out of bounds"):
        make().tokens(volumes(1), kept)
    with pytest.raises(ValueError, match="kept must be `batch kept` for 2 volumes"):
        make().tokens(volumes(2), kept)


def test_heads_that_leave_no_pairs_for_three_axes() -> None:
    with pytest.raises(UserError, match="4 heads do not share 100 features in multiples of 6: take a multiple of 24 features"):
        VolumeEncoderConfig.from_values({"embed_dim": 100, "num_heads": 4}, "config.yaml")
