"""The arms of COLIPRI's experiment share their budget, and each changes what its name says and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ct_runs import make_ct_store

from lingula.training.recipes import recipe

ONE = {"method.report_weight": 0.0, "method.masked_weight": 0.0}
"""The contrast, with opposite sentences."""


@pytest.fixture(scope="module")
def experiment(load_experiment: Callable[[str], Any]) -> Any:
    return load_experiment("colipri")


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def settings(experiment: Any, arm: str) -> dict[str, Any]:
    return flat(recipe("colipri", "tiny", experiment.ARMS[arm]).model_dump(mode="json"))


@pytest.mark.parametrize(
    ("arm", "changed"),
    [
        ("c", ONE),
        ("cr", {"method.masked_weight": 0.0}),
        ("cm", {"method.report_weight": 0.0}),
        ("crm", {}),
        ("c, no opposite sentences", ONE | {"method.opposite_weight": 0.0}),
        ("c, shuffled reports", ONE | {"data.text_view": "varied", "data.report_augment.short_sentence": 0.0}),
        ("c, shuffled reports or one statement", ONE | {"data.text_view": "varied"}),
        ("cm, fine patches", {"method.report_weight": 0.0, "method.encoder.patch_size": 8}),
    ],
)
def test_an_arm_changes_what_it_says(experiment: Any, arm: str, changed: dict[str, Any]) -> None:
    ours, base = settings(experiment, arm), settings(experiment, "crm")
    assert {name: value for name, value in ours.items() if base[name] != value} == changed


def test_images_alone_are_of_other_patients_in_half_of_the_steps(experiment: Any) -> None:
    ours, base = settings(experiment, "crm, images alone in half of the steps"), settings(experiment, "crm")
    changed = {name for name, value in ours.items() if base[name] != value}
    assert changed == {"data.images_only"}
    assert ours["data.images_only_share"] == 0.5
    assert experiment.MORE != experiment.STORE


def test_a_cell_trains_and_scores_every_task_that_its_arm_can_do(experiment: Any, tmp_path: Path) -> None:
    store = make_ct_store(tmp_path / "store", train=12, val=6, test=8)
    small = {
        "method": {
            "encoder": {"embed_dim": 24, "num_heads": 2, "patch_size": 8},
            "image_pooler_heads": 2,
            "text_pooler_heads": 2,
            "report_decoder": {"width": 16, "heads": 2, "max_tokens": 20},
        },
        "crop": {"size": 16},
        "text_encoder": {"small": {"vocabulary": 80, "width": 16, "word_steps": 2, "heads": 2}},
        "optimisation": {"steps": 2, "batch_size": 6},
    }
    scoring = {
        "tasks": {"fraction": (1.0,)},
        "segment": {"label": (), "segment": {"steps": 2, "every": 2}},
        "tokens": {"token_probe": {"steps": 2}},
    }
    found = {}
    for arm in ("crm", "random"):
        cell = experiment.Cell(arm, 0)
        numbers = experiment.work(cell, store, tmp_path / "runs", changes=small, **scoring)
        found[arm] = {number.quantity.split(" · ")[0] for number in numbers}
    assert found["crm"] == {"zero-shot", "probe", "token-probe", "retrieve", "segment", "generate", "CPU seconds per step"}
    assert found["random"] == found["crm"] - {"generate", "CPU seconds per step"}
