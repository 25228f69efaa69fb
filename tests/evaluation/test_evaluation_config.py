from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tyro

from lingula.core.errors import UserError
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.ground_config import GroundConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fractions": [0.0]}, "fractions"),
        ({"fractions": [2.0]}, "fractions"),
        ({"folds": 1}, "folds"),
        ({"k": [0]}, "k needs"),
        ({"where": ["projection"]}, "COLUMN=PATTERN"),
        ({"tasks": ["zeroshot"]}, "tasks"),
        ({"bootstraps": 3}, "Did you mean 'bootstrap'"),
        ({"ground": {"smooth": -1}}, "ground.smooth"),
        ({"ground": {"smoothe": 1}}, "Did you mean 'smooth'"),
        ({"zero_shot_scores": []}, "at least one"),
    ],
)
def test_wrong_values_are_one_clear_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EvaluateConfig.from_values({"store": "x", **values}, "test")


def test_nothing_heavy_is_imported() -> None:
    heavy = ("torch", "sklearn", "matplotlib", "pyarrow")
    code = f"import sys, lingula.evaluation.config; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_options_repeat_a_task_nested_ones_behind_their_name() -> None:
    config = EvaluateConfig.from_values(
        {
            "store": "stores/x",
            "label": ["Edema", "Lung Mass"],
            "zero_shot_scores": ["pooled", "dense-max"],
            "ground": {"smooth": 1.5, "kind": ["pathology"], "skip_sides": True},
        },
        "test",
    )
    words = config.options("ground")
    assert words == (
        "--store stores/x --task ground --label Edema 'Lung Mass' --zero-shot-scores pooled dense-max "
        "--ground.kind pathology --ground.smooth 1.5 --ground.skip-sides"
    )
    again = tyro.cli(EvaluateConfig, args=shlex.split(words), config=(tyro.conf.FlagCreatePairsOff,))
    assert again == config.model_copy(update={"task": ("ground",)})
    assert EvaluateConfig(store=Path("x"), ground=GroundConfig()).options("probe") == "--store x --task probe"


def test_the_options_of_a_task_leave_out_what_is_for_another() -> None:
    config = EvaluateConfig(store=Path("x"), segment={"steps": 7}, token_probe={"steps": 9}, draws=1)  # type: ignore[arg-type]
    assert config.options("probe") == "--store x --task probe --draws 1"
    assert config.options("segment") == "--store x --task segment --draws 1 --segment.steps 7"
    assert config.options("token-probe") == "--store x --task token-probe --draws 1 --token-probe.steps 9"
