from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture(scope="session")
def load_experiment() -> Callable[[str], Any]:
    """Import an experiment, which is a script beside the package, and what experiments share."""

    def load(name: str) -> Any:
        for each in dict.fromkeys(("cells", "panels", "scores", name)):
            specification = importlib.util.spec_from_file_location(each, FOLDER / f"{each}.py")
            assert specification is not None
            assert specification.loader is not None
            sys.modules[each] = importlib.util.module_from_spec(specification)
            specification.loader.exec_module(sys.modules[each])
        return sys.modules[name]

    return load
