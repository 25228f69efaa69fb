"""The figure of an experiment shows what its table holds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(("name", "quantity"), [("m_flag", "zero-shot AUROC"), ("g2d", "zero-shot · AUROC")])
def test_the_figure_has_a_dot_for_every_seed(
    name: str, quantity: str, load_experiment: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(name)
    monkeypatch.setattr(experiment, "RESULTS", tmp_path / "r.csv")
    monkeypatch.setattr(experiment, "FIGURE", tmp_path / "r.svg")
    marks = []
    for values in ((0.6, 0.65, 0.7), (0.6, 0.7)):
        cells = sys.modules["cells"]
        one = {cells.Cell("clip", seed): [cells.Number(quantity, value)] for seed, value in enumerate(values)}
        cells.write(tmp_path / "r.csv", one)
        experiment.show()
        drawing = (tmp_path / "r.svg").read_text()
        assert "phantom numbers" in drawing
        marks.append(drawing.count("<use "))
    assert marks[0] == marks[1] + 1


def test_a_panel_that_compares_no_two_arms_of_its_group_is_left_out(
    load_experiment: Callable[[str], Any], tmp_path: Path
) -> None:
    load_experiment("g2d")
    cells, panels = sys.modules["cells"], sys.modules["panels"]
    results = {
        cells.Cell("a", 0): [cells.Number("both", 0.1), cells.Number("one", 0.2)],
        cells.Cell("b", 0): [cells.Number("both", 0.3), cells.Number("one", None)],
    }
    cells.write(tmp_path / "r.csv", results)
    titles = {"both": "Seen in both", "one": "Seen in one"}
    panels.draw(tmp_path / "r.csv", tmp_path / "r.svg", {"group": {"a": "a", "b": "b", "c": "c"}}, titles, "title", "a")
    drawing = (tmp_path / "r.svg").read_text()
    assert "Seen in both" in drawing
    assert "Seen in one" not in drawing
