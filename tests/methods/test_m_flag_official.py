"""M-FLAG against numbers that the official code gave; golden/m_flag/README.md says how they came to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from golden import assert_same, wave

from lingula.methods.m_flag_config import PRESETS
from lingula.models.projectors import Projector
from lingula.objectives import alignment_loss, orthogonality_loss

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "m_flag"
LOSSES = json.loads((GOLDEN / "losses.json").read_text())
HEADS = json.loads((GOLDEN / "heads.json").read_text())
RELATIVE = {"float32": 1e-5, "float64": 1e-10}


@pytest.mark.parametrize("golden", LOSSES["orthogonality"], ids=lambda g: f"{g['dtype']}-{g['batch']}x{g['dim']}")
def test_orthogonality_equals_the_official_code(golden):
    relative, dtype = RELATIVE[golden["dtype"]], getattr(torch, golden["dtype"])
    features = wave((golden["batch"], golden["dim"]), 0.37, 0.1, dtype, golden["offset"], golden["amplitude"]).requires_grad_()
    loss = orthogonality_loss(features)
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss"], rel=relative)
    assert_same(features.grad, golden["gradient"], relative)


@pytest.mark.parametrize("golden", LOSSES["alignment"], ids=lambda g: f"{g['dtype']}-{g['batch']}x{g['dim']}")
def test_alignment_equals_the_official_code(golden):
    relative, dtype, shape = RELATIVE[golden["dtype"]], getattr(torch, golden["dtype"]), (golden["batch"], golden["dim"])
    image = wave(shape, 0.53, 0.2, dtype, 0.1).requires_grad_()
    text = wave(shape, 0.71, 0.9, dtype, -0.2, 2.0).requires_grad_()
    loss = alignment_loss(image, text)
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss"], rel=relative)
    assert_same(image.grad, golden["image_gradient"], relative)
    assert_same(text.grad, golden["text_gradient"], relative)


def official_head(inputs: int, frequency: float, dtype: torch.dtype) -> Projector:
    released = PRESETS["released"]["method"]
    head = Projector("batch-norm-mlp", inputs, released["hidden"], released["latent"]).to(dtype)
    with torch.no_grad():
        for number, parameter in enumerate(head.parameters()):
            fan_in = parameter.shape[1] if parameter.ndim == 2 else 1
            values = wave(tuple(parameter.shape), frequency, 0.1 * number, torch.float64) / fan_in**0.5
            parameter.copy_(values)
        head.layers.norm.weight.add_(1)
    return head


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_heads_and_losses_together_equal_the_official_code(dtype):
    golden, relative, precise = HEADS[dtype], RELATIVE[dtype], getattr(torch, dtype)
    heads = {"image": official_head(2048, 0.017, precise), "text": official_head(768, 0.023, precise)}
    features = wave((golden["batch"], 2048), 0.37, 0.1, precise, 0.5, 0.4).requires_grad_()
    latents = {
        "image": heads["image"](features),
        "text": heads["text"](wave((golden["batch"], 768), 0.59, 0.4, precise)),
    }
    orthogonality, alignment = orthogonality_loss(features), alignment_loss(latents["image"], latents["text"])
    (orthogonality + alignment).backward()
    assert orthogonality.item() == pytest.approx(golden["orthogonality"], rel=relative)
    assert alignment.item() == pytest.approx(golden["alignment"], rel=relative)
    assert (orthogonality + alignment).item() == pytest.approx(golden["total"], rel=relative)
    assert_same(features.grad, golden["image_gradient"], relative)
    assert_same(latents["image"], golden["image_latents"], relative)
    assert_same(latents["text"], golden["text_latents"], relative)
    gradients = [(side, parameter.grad) for side, head in heads.items() for parameter in head.parameters()]
    for (side, gradient), (name, wanted) in zip(gradients, golden["head_gradients"].items(), strict=True):
        assert name.startswith(side)
        assert_same(gradient, wanted, 2 * relative)
    assert_same(heads["image"].layers.norm.running_mean, golden["running_mean"], relative)
    assert_same(heads["text"].layers.norm.running_var, golden["running_var"], relative)
