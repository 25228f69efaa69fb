from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.objectives import alignment_loss


def pair(seed: int, batch: int, latent: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, latent, dtype=torch.float64, generator=generator) for _ in range(2))


def slow(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    total = image.new_zeros(())
    for i in range(len(image)):
        dot = sum(image[i, j] * text[i, j] for j in range(image.shape[1]))
        lengths = [sum(side[i, j] ** 2 for j in range(image.shape[1])).sqrt() for side in (image, text)]
        total = total + (2 - 2 * dot / (lengths[0] * lengths[1])) + (2 - 2 * dot / (lengths[0] * lengths[1]))
    return total / len(image)


@pytest.mark.parametrize(("batch", "latent"), [(1, 3), (5, 4), (3, 9)])
def test_equals_a_slow_reference_in_value_and_gradient(batch, latent):
    fast_inputs = [side.requires_grad_() for side in pair(0, batch, latent)]
    slow_inputs = [side.detach().clone().requires_grad_() for side in fast_inputs]
    fast_loss, slow_loss = alignment_loss(*fast_inputs), slow(*slow_inputs)
    fast_loss.backward()
    slow_loss.backward()
    assert fast_loss.item() == pytest.approx(slow_loss.item(), rel=1e-12)
    for a, b in zip(fast_inputs, slow_inputs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


def test_known_angles():
    image = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    text = torch.tensor([[5.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert alignment_loss(image, text).item() == pytest.approx((0 + 8 + 4 + 4 * (1 - math.sqrt(0.5))) / 4, rel=1e-6)


@given(seed=st.integers(0, 1000), batch=st.integers(1, 6), latent=st.integers(2, 7), scale=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_invariances(seed, batch, latent, scale):
    torch.manual_seed(seed)
    image, text = pair(seed, batch, latent)
    loss = alignment_loss(image, text)
    rotation = torch.linalg.qr(torch.randn(latent, latent, dtype=torch.float64))[0]
    order = torch.randperm(batch)
    assert 0 <= loss.item() <= 8
    torch.testing.assert_close(alignment_loss(image @ rotation, text @ rotation), loss)
    torch.testing.assert_close(alignment_loss(image[order], text[order]), loss)
    torch.testing.assert_close(alignment_loss(text, image), loss)
    torch.testing.assert_close(alignment_loss(scale * image, text), loss)


def test_gradcheck():
    assert torch.autograd.gradcheck(alignment_loss, tuple(side.requires_grad_() for side in pair(1, 3, 4)))


def test_a_zero_vector_has_cosine_zero_and_a_moderate_gradient():
    image, text = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    loss = alignment_loss(image, text)
    loss.backward()
    assert loss.item() == 4
    assert image.grad.abs().max() < 10
    assert text.grad.abs().max() < 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_computed_in_fp32(dtype):
    image, text = (side.to(dtype) * 300 for side in pair(2, 8, 512))
    loss = alignment_loss(image, text)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(alignment_loss(image.double(), text.double()).item(), rel=1e-6)


def test_autocast_changes_nothing():
    image, text = (side.float() for side in pair(3, 8, 16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert alignment_loss(image, text).item() == alignment_loss(image.clone(), text).item()
        inside = alignment_loss(image, text)
    assert torch.equal(inside, alignment_loss(image, text))


@pytest.mark.parametrize(("image", "text"), [((2, 3), (3, 3)), ((2, 3), (2, 4)), ((0, 3), (0, 3)), ((3,), (3,))])
def test_unpaired_inputs_are_refused(image, text):
    with pytest.raises(ValueError, match="paired latents"):
        alignment_loss(torch.ones(image), torch.ones(text))
