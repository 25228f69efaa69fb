from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from lingula.core.errors import UserError
from lingula.evaluation.config import EvaluateConfig


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
    ],
)
def test_wrong_values_are_one_clear_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EvaluateConfig.from_values({"store": "x", **values}, "test")


def test_nothing_heavy_is_imported() -> None:
    heavy = ("torch", "sklearn", "matplotlib", "pyarrow")
    code = f"import sys, lingula.evaluation.config; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
