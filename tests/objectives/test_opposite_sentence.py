from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from lingula.objectives import opposite_margins, opposite_sentence_loss


def random_case(seed: int, batch: int = 3, slots: int = 4, latent: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, latent, generator=generator, dtype=torch.float64)
    sentences = torch.randn(2, batch, slots, latent, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, 2, (batch, slots), generator=generator)
    return image, sentences[0], sentences[1], labels


@given(seed=st.integers(0, 2**31), temperature=st.floats(0.05, 3))
def test_equals_the_two_way_cross_entropy_pair_by_pair(seed: int, temperature: float) -> None:
    """Slow way: softmax over the two cosines, the target picked by the label, empty slots left out."""
    image, statements, opposites, labels = random_case(seed)
    expected = []
    for i in range(3):
        for j in range(4):
            if labels[i, j] < 0:
                continue
            cosines = [functional.cosine_similarity(image[i], each[i, j], dim=0) for each in (statements, opposites)]
            probabilities = torch.softmax(torch.stack(cosines) / temperature, dim=0)
            expected.append(-math.log(probabilities[0 if labels[i, j] == 1 else 1]))
    found = opposite_sentence_loss(opposite_margins(image, statements, opposites), labels, temperature)
    assert found.item() == pytest.approx(sum(expected) / len(expected) if expected else 0.0)


@pytest.mark.parametrize(("label", "margin"), [(1, 2.0), (0, -2.0)])
def test_the_perfect_image_has_a_small_loss_and_the_wrong_one_a_large_one(label: int, margin: float) -> None:
    """Of unit vectors the margin is at most 2."""
    right = opposite_sentence_loss(torch.tensor([[margin]]), torch.tensor([[label]]), 0.1)
    wrong = opposite_sentence_loss(torch.tensor([[-margin]]), torch.tensor([[label]]), 0.1)
    assert right.item() == pytest.approx(math.log1p(math.exp(-20)), abs=1e-7)
    assert wrong.item() == pytest.approx(20.0)
    assert opposite_sentence_loss(torch.zeros(1, 1), torch.tensor([[label]]), 0.1).item() == pytest.approx(math.log(2))


def test_without_a_valid_slot_loss_and_gradient_are_zero() -> None:
    image, statements, opposites, _ = random_case(0)
    image.requires_grad_()
    temperature = torch.tensor(0.1, requires_grad=True)
    loss = opposite_sentence_loss(opposite_margins(image, statements, opposites), torch.full((3, 4), -1), temperature)
    loss.backward()
    assert loss == 0
    assert not image.grad.any()
    assert temperature.grad == 0


def test_the_mean_is_over_pairs_not_over_images() -> None:
    margins = torch.tensor([[0.5, 0.5, 0.5], [-0.5, 0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[1, 1, 1], [1, -1, -1]])
    expected = (3 * math.log1p(math.exp(-0.5)) + math.log1p(math.exp(0.5))) / 4
    loss = opposite_sentence_loss(margins, labels, 1.0)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert not margins.grad[1, 1:].any(), "empty slots have no gradient"


def test_scale_does_not_matter_and_half_precision_is_left_behind() -> None:
    image, statements, opposites, labels = random_case(1)
    margins = opposite_margins(image, statements, opposites)
    torch.testing.assert_close(opposite_margins(7 * image, 0.1 * statements, 3 * opposites), margins)
    half = opposite_margins(image.bfloat16(), statements.bfloat16(), opposites.bfloat16())
    assert half.dtype == torch.float32
    assert opposite_sentence_loss(half, labels, torch.tensor(0.1, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_learned_temperature_gets_a_gradient() -> None:
    temperature = torch.tensor(0.5, requires_grad=True)
    opposite_sentence_loss(torch.tensor([[1.0]]), torch.tensor([[1]]), temperature).backward()
    assert temperature.grad.item() > 0, "a right pair asks for a lower temperature"


def test_bad_input() -> None:
    image, statements, opposites, labels = random_case(2)
    with pytest.raises(ValueError, match="two sentences"):
        opposite_margins(image[:2], statements, opposites)
    with pytest.raises(ValueError, match="two sentences"):
        opposite_margins(image, statements, opposites[:, :2])
    margins = opposite_margins(image, statements, opposites)
    with pytest.raises(ValueError, match="one shape"):
        opposite_sentence_loss(margins, labels[:, :2], 1.0)
    with pytest.raises(ValueError, match="1, 0 or -1"):
        opposite_sentence_loss(margins, torch.full_like(labels, 2), 1.0)
    with pytest.raises(ValueError, match="positive"):
        opposite_sentence_loss(margins, labels, 0.0)
