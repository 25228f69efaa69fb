from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lingula.training.config import OptimisationConfig
from lingula.training.optimisation import build_optimiser, learning_rate, set_learning_rate


def rates(steps: int, **options: object) -> list[float]:
    config = OptimisationConfig.model_validate({"learning_rate": 0.1, **options})
    return [learning_rate(step, steps, config) for step in range(steps)]


def test_cosine_follows_the_warm_up_and_reaches_the_minimum_with_the_last_step() -> None:
    values = rates(110, warmup=10, minimum_learning_rate=0.01)
    assert values[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    assert values[10] == pytest.approx(0.1)
    assert values[60] == pytest.approx(0.055)
    assert values[109] == pytest.approx(0.01 + 0.09 * (1 + math.cos(math.pi * 99 / 100)) / 2)


def test_warm_up_below_one_is_a_share_of_the_steps() -> None:
    assert rates(40, warmup=0.25)[:10] == rates(40, warmup=10)[:10]
    assert rates(40, warmup=0, schedule="constant") == [0.1] * 40


def test_warm_restarts_equal_torch() -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=20, T_mult=1, eta_min=1e-8)
    expected = []
    for _ in range(50):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    options = {"schedule": "warm-restarts", "warmup": 0, "minimum_learning_rate": 1e-8}
    assert rates(50, restart_period=0.4, **options) == pytest.approx(expected, rel=1e-9)
    assert rates(50, restart_period=20, **options) == pytest.approx(expected, rel=1e-9)


def test_only_matrices_and_kernels_decay_and_frozen_parameters_stay_out() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3), nn.Linear(3, 3))
    module.register_parameter("log_temperature", nn.Parameter(torch.tensor(0.0)))
    module[4].requires_grad_(False)
    optimiser = build_optimiser(module, OptimisationConfig(weight_decay=0.3))
    decayed = {id(p) for group in optimiser.param_groups if group["weight_decay"] == 0.3 for p in group["params"]}
    free = {id(p) for group in optimiser.param_groups if group["weight_decay"] == 0.0 for p in group["params"]}
    assert decayed == {id(module[0].weight), id(module[3].weight)}
    expected = [module[0].bias, module[1].weight, module[1].bias, module[3].bias, module.log_temperature]
    assert free == {id(p) for p in expected}
    set_learning_rate(optimiser, 0.5)
    assert {group["lr"] for group in optimiser.param_groups} == {0.5}


def test_vectors_are_decayed_only_where_asked() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for asked, expected in ((False, [0.05, 0.0]), (True, [0.05, 0.05])):
        config = OptimisationConfig.model_validate({"weight_decay": 0.05, "decay_vectors": asked})
        groups = build_optimiser(module, config).param_groups
        assert [group["weight_decay"] for group in groups] == expected
        assert [len(group["params"]) for group in groups] == [1, 3]
