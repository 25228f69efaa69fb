"""The arms of the G2D experiment share their budget, and each ablation changes what its name says and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lingula import tour
from lingula.core.config import merged
from lingula.training.recipes import recipe


@pytest.fixture(scope="module")
def experiment(load_experiment: Callable[[str], Any]) -> Any:
    return load_experiment("g2d")


def settings(experiment: Any, arm: str) -> dict[str, Any]:
    method, changes = experiment.ARMS[arm]
    return recipe(method, "sound", changes, merged(experiment.BUDGET, tour.OWN[method])).model_dump(mode="json")


def test_all_arms_share_everything_but_the_method(experiment: Any) -> None:
    found = [settings(experiment, arm) for arm in experiment.ARMS]
    for part in ("data", "augment", "optimisation", "runtime", "image_encoder", "text_encoder"):
        assert all(one[part] == found[0][part] for one in found), part


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


@pytest.mark.parametrize(
    ("arm", "changed"),
    [
        ("g2d, no dense term", {"dense": "none"}),
        ("g2d, masks shuffled between images", {"dense": "shuffled-mask"}),
        ("g2d, reconstruction", {"dense": "reconstruction"}),
        ("g2d, quantile 0.75", {"mask.quantile": 0.75}),
        ("g2d, median", {"mask.threshold": "median"}),
        ("g2d, two Gaussians", {"mask.threshold": "gmm"}),
        ("g2d, no body mask", {"mask.domain": "image"}),
        ("g2d, smoothed masks", {"mask.smooth": "bilateral"}),
        ("g2d, 1 head", {"heads": 1}),
        ("g2d, a mask per head", {"mask.per_head": True}),
    ],
)
def test_an_ablation_changes_one_thing(experiment: Any, arm: str, changed: dict[str, Any]) -> None:
    ours, base = flat(settings(experiment, arm)["method"]), flat(settings(experiment, "g2d")["method"])
    assert {name: value for name, value in ours.items() if base[name] != value} == changed


def test_methods_come_before_ablations(experiment: Any) -> None:
    cells = experiment.in_order(experiment.MAIN, list(experiment.ARMS), [0, 1, 2])
    main = [cell.arm in experiment.MAIN for cell in cells]
    assert main == [True] * 12 + [False] * (len(cells) - 12)
    assert len(set(cells)) == 3 * len(experiment.ARMS)
