"""The tour, tiny: three methods through every task, and the pictures on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from lingula import tour
from lingula.cli import main
from lingula.evaluation.result import TaskResult


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder and store of a tiny tour."""
    folder = tmp_path_factory.mktemp("tour")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tour, "STUDIES", {"train": 48, "val": 30, "test": 40})
        patch.setattr(tour, "SIZE", 48)
        budget = {"data": {"image_size": 32, "text_view": "report"}, "text_encoder": {"small": {"vocabulary": 300, "width": 32}}}
        budget["optimisation"] = {"steps": 3, "batch_size": 24}
        patch.setattr(tour, "BUDGET", tour.BUDGET | budget)
        short = {"steps": 2, "every": 2}
        dense = {name: tour.TASKS[name] | short for name in ("segment", "detect")}
        patch.setattr(tour, "TASKS", tour.TASKS | dense | {"fraction": (1.0,), "bootstrap": 20})
        tour.run_tour(folder / "runs", folder / "store")
    return folder / "runs", folder / "store"


def test_every_method_goes_through_every_task(finished: tuple[Path, Path]) -> None:
    runs, _ = finished
    for method in tour.OWN:
        for task in tour.TASKS["task"]:
            assert TaskResult.load(runs / method / "evaluation" / task).phantom
    g2d = TaskResult.load(runs / "g2d/evaluation/segment")
    clip = TaskResult.load(runs / "clip/evaluation/segment")
    assert len(g2d.settings) == 2 * len(clip.settings), "only G2D has a decoder to hand on"


def test_the_page_shows_pictures_of_the_dense_tasks(finished: tuple[Path, Path]) -> None:
    runs, _ = finished
    page = (runs / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 9
    assert "Phantom numbers" in page


def test_show_draws_one_picture_of_a_run(finished: tuple[Path, Path], tmp_path: Path) -> None:
    runs, store = finished
    out = tmp_path / "show.png"
    main(["show", str(runs / "g2d"), "--store", str(store), "--row", "80", "--phrase", "pleural effusion", "--out", str(out)])
    assert out.read_bytes().startswith(b"\x89PNG")
