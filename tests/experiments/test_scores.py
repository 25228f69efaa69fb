"""The tables of an experiment: a row per arm that has numbers of the task, in the order of the arms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_rows_are_the_arms_with_numbers_in_their_order(load_experiment: Callable[[str], Any], tmp_path: Path) -> None:
    load_experiment("cells")
    from cells import Cell, Number, write
    from scores import tables

    probe, seconds = Number("probe · AUROC · 1 %", 0.5), Number("seconds per step", 2.0)
    write(tmp_path / "r.csv", {Cell("late", 0): [probe, seconds], Cell("early", 0): [probe], Cell("gone", 0): [probe]})
    lines = tables(tmp_path / "r.csv", {"probe": ("AUROC",), "seconds per step": ()}, ["early", "late", "absent"]).splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("|") and "seeds" not in line and "---" not in line]
    assert rows == ["early", "late", "late"]
