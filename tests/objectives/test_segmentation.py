from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lingula.objectives import segmentation_loss


def slow(logits: np.ndarray, target: np.ndarray, known: np.ndarray, form: str) -> float:
    """Pixel by pixel, in float64, as the docstring says it."""
    values = []
    for place in range(logits.shape[1]):
        both, predicted, true, entropies = 0.0, 0.0, 0.0, []
        for image in range(len(logits)):
            if not known[image, place]:
                continue
            for x, t in zip(logits[image, place].ravel(), target[image, place].ravel(), strict=True):
                p = 1 / (1 + math.exp(-x))
                both, predicted, true = both + p * t, predicted + p, true + t
                right = p if t else 1 - p
                entropies.append(-math.log(right) * (10 * (1 - right) ** 2 if form == "mgca" else 1))
        dice = (2 * both + 1) / (predicted + true + 1)
        if entropies:
            mean = sum(entropies) / len(entropies)
            values.append(mean - math.log(dice) if form == "mgca" else (1 - dice + mean) / 2)
    return sum(values) / len(values)


@pytest.mark.parametrize("form", ["dice-bce", "mgca"])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_slow_reference(form: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(3, 2, 4, 5)) * 3
    target = (generator.random((3, 2, 4, 5)) < 0.3).astype(float)
    known = generator.random((3, 2)) < 0.7
    known[0] = True
    found = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(target), torch.from_numpy(known), form)
    assert found.item() == pytest.approx(slow(logits, target, known, form), rel=1e-12)


def test_what_is_unknown_changes_neither_value_nor_gradient() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 3, 6, 6), (torch.rand(4, 3, 6, 6) < 0.4).float()
    known = torch.ones(4, 3, dtype=torch.bool)
    known[2, 1] = known[:, 2] = False
    for form in ("dice-bce", "mgca"):
        one, other = logits.clone().requires_grad_(), logits.clone()
        other[2, 1], other[:, 2] = 7.0, -30.0
        flipped = target.clone()
        flipped[2, 1] = 1 - flipped[2, 1]
        value = segmentation_loss(one, target, known, form)
        assert value.item() == pytest.approx(segmentation_loss(other, flipped, known, form).item(), rel=1e-6)
        value.backward()
        assert not one.grad[2, 1].any()
        assert not one.grad[:, 2].any()
        assert one.grad[0, 0].any()


def test_nothing_known_is_no_loss_and_an_empty_truth_pushes_down() -> None:
    logits, target = torch.zeros(2, 1, 4, 4, requires_grad=True), torch.zeros(2, 1, 4, 4)
    for form in ("dice-bce", "mgca"):
        nothing = segmentation_loss(logits, target, torch.zeros(2, 1, dtype=torch.bool), form)
        (gradient,) = torch.autograd.grad(nothing, logits)
        assert nothing.item() == 0
        assert not gradient.any()
        (gradient,) = torch.autograd.grad(segmentation_loss(logits, target, torch.ones(2, 1, dtype=torch.bool), form), logits)
        assert (gradient > 0).all()


def test_extreme_logits_in_half_precision_stay_finite() -> None:
    logits = torch.tensor([[[[300.0, -300.0]]]], dtype=torch.float16, requires_grad=True)
    for truth in ([[[[0.0, 1.0]]]], [[[[1.0, 0.0]]]]):
        for form in ("dice-bce", "mgca"):
            value = segmentation_loss(logits, torch.tensor(truth), torch.ones(1, 1, dtype=torch.bool), form)
            (gradient,) = torch.autograd.grad(value, logits)
            assert value.dtype == torch.float32
            assert value.isfinite()
            assert gradient.isfinite().all()
    perfect = segmentation_loss(logits, torch.tensor([[[[1.0, 0.0]]]]), torch.ones(1, 1, dtype=torch.bool))
    assert perfect.item() == pytest.approx(0, abs=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    one = torch.zeros(2, 1, 4, 4)
    with pytest.raises(ValueError, match="batch classes"):
        segmentation_loss(one, one, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="one shape"):
        segmentation_loss(one, one[:1], torch.ones(2, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="dice-bce, mgca"):
        segmentation_loss(one, one, torch.ones(2, 1, dtype=torch.bool), "focal")
