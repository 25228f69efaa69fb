from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import assert_same, wave

from lingula.objectives import dice_bce_loss

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden/g2d/blocks.json").read_text())["loss"]
RELATIVE = {"float32": 1e-5, "float64": 1e-10}


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: f"{g['dtype']}-{g['amplitude']}")
def test_released_equals_the_official_code(golden: dict[str, Any]) -> None:
    dtype, relative = getattr(torch, golden["dtype"]), RELATIVE[golden["dtype"]]
    logits = wave((3, 1, 16, 16), 0.53, 0.2, dtype, 0.1, golden["amplitude"]).requires_grad_()
    loss = dice_bce_loss(logits, (wave((3, 1, 16, 16), 0.71, 0.9, dtype) > 0.4).to(dtype), "released")
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss"], rel=relative)
    assert_same(logits.grad, golden["gradient"], relative)


def slow(logits: torch.Tensor, target: torch.Tensor, form: str) -> float:
    total, images = 0.0, 0
    for x, t in zip(logits.flatten(1).tolist(), target.flatten(1).tolist(), strict=True):
        if form == "sound" and not any(t):
            continue
        images += 1
        p = [1 / (1 + math.exp(-value)) for value in x]
        entropy = -sum(b * math.log(a) + (1 - b) * math.log(1 - a) for a, b in zip(p, t, strict=True))
        both, smooth = 2 * sum(a * b for a, b in zip(p, t, strict=True)), 1.0 if form == "sound" else 0.0
        dice = 1 - (both + smooth) / (sum(p) + sum(t) + smooth)
        total += (dice + entropy / (len(p) if form == "sound" else 1)) / 2
    return total / max(images, 1)


@pytest.mark.parametrize("form", ["sound", "paper"])
def test_equals_a_slow_reference(form: str) -> None:
    torch.manual_seed(0)
    logits, target = 2 * torch.randn(5, 1, 4, 6, dtype=torch.float64), (torch.rand(5, 1, 4, 6) > 0.6).double()
    target[3] = 0
    assert dice_bce_loss(logits, target, form).item() == pytest.approx(slow(logits, target, form), rel=1e-10)
    assert torch.autograd.gradcheck(lambda values: dice_bce_loss(values, target, form), logits.requires_grad_())


def test_sound_is_lowest_at_the_mask_and_released_is_not() -> None:
    """On logits of +-2 the official Dice term prefers the inverted mask: its known defect."""
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:5, 2:6] = 1
    right, wrong = 4 * target - 2, 2 - 4 * target
    assert dice_bce_loss(20 * right, target).item() < 0.03
    assert dice_bce_loss(right, target) < dice_bce_loss(wrong, target)
    terms = [
        dice_bce_loss(x, target, "released") - 0.2 * torch.nn.functional.binary_cross_entropy_with_logits(x, target)
        for x in (right, wrong)
    ]
    assert terms[0] > terms[1]


def test_images_without_a_mask_are_skipped() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(3, 1, 4, 4, requires_grad=True), torch.zeros(3, 1, 4, 4)
    loss = dice_bce_loss(logits, target)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()
    target[1, 0, 1, 1] = 1
    torch.testing.assert_close(dice_bce_loss(logits, target), dice_bce_loss(logits[1:2], target[1:2]))


def test_half_precision_is_left_and_bad_shapes_are_told() -> None:
    logits = torch.full((1, 1, 300, 300), 20.0, dtype=torch.float16)
    assert torch.isfinite(dice_bce_loss(logits, torch.ones(1, 1, 300, 300), "released"))
    with pytest.raises(ValueError, match="logits and masks of one shape"):
        dice_bce_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(ValueError, match="form must be one of"):
        dice_bce_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), "best")  # type: ignore[arg-type]
