"""The arms of the M-FLAG experiment differ in what they are meant to differ in, and in nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lingula import demo
from lingula.training.recipes import recipe

SHARED = ("data", "augment", "optimisation", "runtime")


@pytest.fixture(scope="module")
def experiment(load_experiment: Callable[[str], Any]) -> Any:
    return load_experiment("m_flag")


def settings(experiment: Any, arm: str) -> dict[str, Any]:
    method, changes = experiment.ARMS[arm]
    values = experiment.recipe_values(demo.OWN[method], demo.BUDGET)
    return recipe(method, "sound", changes, values).model_dump(mode="json")


@pytest.mark.parametrize("group", ["", "short: ", "lite: "])
def test_arms_of_a_group_share_data_optimiser_and_encoder(experiment: Any, group: str) -> None:
    arms = [arm for arm in experiment.ARMS if experiment.group_of(arm) == group]
    assert len(arms) >= 5
    found = [settings(experiment, arm) for arm in arms]
    for one, arm in zip(found, arms, strict=True):
        if ", rate " in arm:
            assert one["optimisation"]["learning_rate"] == float(arm.split("rate ")[1])
            one["optimisation"]["learning_rate"] = found[0]["optimisation"]["learning_rate"]
    for part in SHARED:
        assert all(one[part] == found[0][part] for one in found), part
    assert len({(one["image_encoder"]["name"], one["image_encoder"]["pooling"]) for one in found}) == 1


@pytest.mark.parametrize("trained", ["short: m-flag, words trained", "short: m-flag, transformer trained"])
def test_frozen_and_trained_differ_in_one_word(experiment: Any, trained: str) -> None:
    of_frozen = trained.replace(", words trained", "").replace("transformer trained", "transformer frozen")
    frozen, changed = settings(experiment, of_frozen), settings(experiment, trained)
    assert (frozen["text_encoder"].pop("frozen"), changed["text_encoder"].pop("frozen")) == (True, False)
    assert frozen == changed


def test_the_whitened_arm_is_the_preset_of_that_name(experiment: Any) -> None:
    arm = settings(experiment, "m-flag, whitened text, linear head")
    assert arm["method"] == recipe("m-flag", "whitened").model_dump(mode="json")["method"]
