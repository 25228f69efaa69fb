"""Three AdamW steps of the `released` preset against the official training loop; golden/m_flag/README.md says how."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import assert_same, wave
from torch import Tensor, nn

from lingula.core.batch import Batch
from lingula.core.distributed import World
from lingula.methods.base import Method
from lingula.training.assembly import build_method
from lingula.training.config import PretrainConfig
from lingula.training.optimisation import build_optimiser, learning_rate, set_learning_rate
from lingula.training.parallel import Spread
from lingula.training.recipes import recipe

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden/m_flag/three_steps.json").read_text())
STEPS, SAMPLES = 3, 24
RELATIVE = {"float32": 1e-4, "float64": 1e-8}
ROUNDING = {"float32": 2e-3, "float64": 1e-6}
"""For gradient norms and movements: AdamW turns the rounding of a gradient near zero into a whole step, so that the official code
in float32 differs from itself in float64 by up to 7e-4 in these."""
HEADS = {"proj_v": "image_head", "proj_t": "text_head"}
LAYERS = {"0": "hidden", "1": "norm", "3": "output", "4": "output_norm"}


def ours(name: str) -> str:
    """Translate a name of the official model."""
    part, _, rest = name.partition(".")
    if part == "encoder":
        return f"image_encoder.model.{rest}"
    layer, _, tensor = rest.partition(".")
    return f"{HEADS[part]}.layers.{LAYERS[layer]}.{tensor}"


def fill(module: nn.Module, shift: float) -> None:
    """Set every parameter by its number; the last batch norm of a residual block gets a fifth of its scale."""
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            values = wave(tuple(parameter.shape), 0.017 + 0.0001 * number, shift + 0.1 * number, parameter.dtype)
            matrix = parameter.ndim > 1
            parameter.copy_(values * (math.sqrt(2 / math.prod(parameter.shape[1:])) if matrix else 0.1))
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.affine:
                layer.weight.add_(1)
        for name, layer in module.named_modules():
            if name.endswith(".bn3"):
                layer.weight.mul_(0.2)


def parts_of(method: Method) -> dict[str, Any]:
    network: Any = method.image_encoder.model
    stages = {name: getattr(network, name) for name in ("conv1", "layer1", "layer2", "layer3", "layer4")}
    return stages | {"proj_v": method.image_head, "proj_t": method.text_head}


def norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(tensor.double().square().sum().item() for tensor in tensors))


@pytest.fixture(scope="module")
def config() -> PretrainConfig:
    """The preset as it is; only weights that cannot be had, precision of a CPU, batch and length of the run differ."""
    size = {"batch_size": GOLDEN["batch"], "steps": 100, "restart_period": float(GOLDEN["restart_steps"])}
    changes = {"image_encoder": {"weights": "none"}, "optimisation": size, "runtime": {"precision": "fp32"}}
    return recipe("m-flag", "released", changes)


@pytest.fixture(scope="module", params=["float32", "float64"])
def trained(request: pytest.FixtureRequest, config: PretrainConfig) -> tuple[str, Method, list[dict[str, Any]], dict[str, float]]:
    """The precision, the method after three steps, what each step measured, and how far each part moved."""
    precision, dtype = request.param, getattr(torch, request.param)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    method = build_method(config, None, 768, []).to(dtype).train()
    for module, shift in ((method.image_encoder, 0.0), (method.image_head, 1.0), (method.text_head, 2.0)):
        fill(module, shift)
    parts, measured = parts_of(method), []
    before = {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}
    spread = Spread(method, config.optimisation, "ddp", World(), trains_text=False)
    optimiser = build_optimiser(method, config.optimisation)
    images, texts = wave((SAMPLES, 1, 64, 64), 0.37, 0.1, dtype), wave((SAMPLES, 768), 0.59, 0.4, dtype)
    for step in range(STEPS):
        rows = GOLDEN["order"][step * GOLDEN["batch"] : (step + 1) * GOLDEN["batch"]]
        rate = learning_rate(step, 100, config.optimisation)
        set_learning_rate(optimiser, rate)
        names = [str(row) for row in rows]
        losses = spread.losses(Batch(names, images[rows], text_features=texts[rows]), names)
        optimiser.zero_grad()
        losses.total.backward()
        norms = {name: norm([p.grad for p in part.parameters() if p.grad is not None]) for name, part in parts.items()}
        terms = {name: value.item() for name, value in losses.terms.items()}
        measured.append({"rate": rate, "norms": norms, "total": losses.total.item(), **terms})
        optimiser.step()
    moved = {n: norm([p.detach() - old for p, old in zip(parts[n].parameters(), before[n], strict=True)]) for n in parts}
    torch.set_num_threads(threads)
    return precision, method, measured, moved


def test_the_preset_is_what_the_official_configuration_says(config: PretrainConfig) -> None:
    chosen = config.optimisation
    assert (chosen.learning_rate, chosen.weight_decay, chosen.betas, chosen.clip_norm) == (2e-5, 5e-2, (0.9, 0.999), None)


@pytest.mark.parametrize("step", range(STEPS))
def test_losses_gradients_and_learning_rate_of_each_step(trained: Any, step: int) -> None:
    precision, _, measured, _ = trained
    found, golden, relative = measured[step], GOLDEN[precision]["steps"][step], RELATIVE[precision]
    assert found["alignment"] == pytest.approx(golden["align_loss"], rel=relative)
    assert found["orthogonality"] == pytest.approx(golden["orthogonal_loss"], rel=relative)
    assert found["total"] == pytest.approx(golden["align_loss"] + golden["orthogonal_loss"], rel=relative)
    assert found["rate"] == pytest.approx(golden["learning_rate"], rel=1e-9)
    assert found["norms"] == pytest.approx(golden["gradient_norms"], rel=ROUNDING[precision])


def test_weights_and_running_statistics_after_three_steps(trained: Any) -> None:
    precision, method, _, _ = trained
    state = method.state_dict()
    for name, golden in (GOLDEN[precision]["weights"] | GOLDEN[precision]["running"]).items():
        assert_same(state[ours(name)], golden, RELATIVE[precision])


def test_every_part_moved_as_far(trained: Any) -> None:
    precision, _, _, moved = trained
    assert moved == pytest.approx(GOLDEN[precision]["change"], rel=ROUNDING[precision])
