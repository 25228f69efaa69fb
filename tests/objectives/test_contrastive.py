from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.objectives import contrastive_loss


def pair(seed: int, batch: int, latent: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, latent, dtype=torch.float64, generator=generator) for _ in range(2))


def slow(image, text, temperature, groups=None, positives="share"):
    """Sum by sum, both directions, from the definition."""
    batch = len(image)
    groups = list(range(batch)) if groups is None else groups.tolist()
    unit = [[row / sum(x**2 for x in row).sqrt() for row in side] for side in (image, text)]
    total = 0.0
    for queries, keys in (unit, unit[::-1]):
        for i in range(batch):
            logit = [sum(a * b for a, b in zip(queries[i], key, strict=True)) / temperature for key in keys]
            friends = [j for j in range(batch) if groups[j] == groups[i]]
            if positives == "mask":
                denominator = sum(logit[j].exp() for j in range(batch) if j == i or j not in friends)
                total = total - (logit[i].exp() / denominator).log()
            else:
                denominator = sum(value.exp() for value in logit)
                total = total - sum((logit[j].exp() / denominator).log() for j in friends) / len(friends)
    return total / (2 * batch)


@pytest.mark.parametrize("positives", ["share", "mask"])
@pytest.mark.parametrize("groups", [None, [0, 1, 2, 3, 4], [7, 7, 2, 7, 2], [1, 1, 1, 1, 1]])
def test_equals_a_slow_reference_in_value_and_gradient(groups, positives):
    groups = None if groups is None else torch.tensor(groups)
    fast_inputs = [*pair(0, 5, 4), torch.tensor(0.3, dtype=torch.float64)]
    slow_inputs = [x.clone().requires_grad_() for x in fast_inputs]
    fast_inputs = [x.requires_grad_() for x in fast_inputs]
    fast_loss = contrastive_loss(*fast_inputs, groups, positives)
    slow_loss = slow(*slow_inputs, groups, positives)
    fast_loss.backward()
    slow_loss.backward()
    assert fast_loss.item() == pytest.approx(slow_loss.item(), rel=1e-11, abs=1e-12)
    for a, b in zip(fast_inputs, slow_inputs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("positives", ["share", "mask"])
def test_gradcheck(positives):
    image, text = (side.requires_grad_() for side in pair(1, 4, 3))
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    groups = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda *x: contrastive_loss(*x, groups, positives), (image, text, temperature))


def test_closed_forms():
    axes = torch.eye(4)
    perfect = math.log(1 + 3 * math.exp(-1 / 0.5))
    assert contrastive_loss(axes, axes, 0.5).item() == pytest.approx(perfect, rel=1e-6)
    assert contrastive_loss(torch.ones(4, 2), torch.ones(4, 2), 0.07).item() == pytest.approx(math.log(4), rel=1e-6)


@pytest.mark.parametrize("positives", ["share", "mask"])
def test_groups_of_one_are_plain_infonce(positives):
    image, text = pair(2, 6, 5)
    alone = contrastive_loss(image, text, 0.1, torch.arange(6), positives)
    torch.testing.assert_close(alone, contrastive_loss(image, text, 0.1), rtol=1e-13, atol=0)


def test_identical_reports_do_not_push_each_other_away():
    """Two images of the same report: plain InfoNCE drives image 0 from its twin's text, masking leaves no such force."""
    image, text = pair(3, 2, 3)
    groups = torch.zeros(2, dtype=torch.long)
    assert contrastive_loss(image, text, 0.1, groups, "mask").item() == 0
    shared = contrastive_loss(text, text[[0, 0]], 0.1, groups, "share")
    assert shared.item() >= math.log(2) - 1e-12


@given(seed=st.integers(0, 1000), batch=st.integers(2, 6), latent=st.integers(2, 6), positives=st.sampled_from(["share", "mask"]))
@settings(max_examples=30, deadline=None)
def test_invariances(seed, batch, latent, positives):
    torch.manual_seed(seed)
    image, text = pair(seed, batch, latent)
    groups = torch.randint(0, 3, (batch,), generator=torch.Generator().manual_seed(seed))
    loss = contrastive_loss(image, text, 0.2, groups, positives)
    rotation = torch.linalg.qr(torch.randn(latent, latent, dtype=torch.float64))[0]
    order = torch.randperm(batch)
    assert loss.item() >= -1e-12
    torch.testing.assert_close(contrastive_loss(image @ rotation, text @ rotation, 0.2, groups, positives), loss)
    torch.testing.assert_close(contrastive_loss(image[order], text[order], 0.2, groups[order], positives), loss)
    torch.testing.assert_close(contrastive_loss(text, image, 0.2, groups, positives), loss)
    torch.testing.assert_close(contrastive_loss(7 * image, text / 9, 0.2, groups, positives), loss)
    torch.testing.assert_close(contrastive_loss(image, text, 0.2, 5 - groups, positives), loss)


def test_zero_vectors_have_finite_gradients():
    image, text = torch.zeros(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    contrastive_loss(image, text, 0.01).backward()
    assert image.grad.isfinite().all()
    assert text.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_computed_in_fp32(dtype):
    image, text = (200 * side.to(dtype) for side in pair(4, 16, 256))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(image, text, torch.tensor(0.01, dtype=dtype))
    exact = contrastive_loss(image.double(), text.double(), torch.tensor(0.01, dtype=dtype).double())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


def test_bad_inputs_are_refused():
    two = torch.ones(2, 3)
    for call, words in (
        (lambda: contrastive_loss(two[:1], two[:1], 0.1), "at least two"),
        (lambda: contrastive_loss(two, torch.ones(3, 3), 0.1), "paired latents"),
        (lambda: contrastive_loss(two, two, 0.0), "temperature"),
        (lambda: contrastive_loss(two, two, 0.1, torch.zeros(3)), "groups"),
        (lambda: contrastive_loss(two, two, 0.1, None, "all"), "positives"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_one_direction_looks_for_the_text_of_each_image():
    """Slow way: -log softmax over the texts, image by image; the mean of both directions is the symmetric loss."""
    generator = torch.Generator().manual_seed(3)
    image, text = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    cosines = torch.nn.functional.normalize(image) @ torch.nn.functional.normalize(text).T / 0.07
    slow = -sum(cosines[i, i] - cosines[i].exp().sum().log() for i in range(5)) / 5
    one = contrastive_loss(image, text, 0.07, direction="image-to-text")
    torch.testing.assert_close(one, slow)
    other = contrastive_loss(text, image, 0.07, direction="image-to-text")
    torch.testing.assert_close((one + other) / 2, contrastive_loss(image, text, 0.07))
    with pytest.raises(ValueError, match="direction must be"):
        contrastive_loss(image, text, 0.07, direction="text-to-image")
