"""The queue of experiments: nothing twice, nothing lost, the rest when it is called again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def cells(load_experiment: Callable[[str], Any]) -> Any:
    return load_experiment("cells")


def square(cell: Any) -> list[Any]:
    """Leave a mark beside the numbers, so that a second run of the same cell is seen."""
    with Path(cell.arm).open("a") as file:
        file.write(f"{cell.seed}\n")
    if cell.seed == 3:
        raise RuntimeError("the third cell fails")
    number = sys.modules["cells"].Number
    return [number("square", float(cell.seed**2), 0.5), number("nothing", None)]


def square_beside_another(cell: Any) -> list[Any]:
    """Let another queue finish a cell of the same file meanwhile."""
    path, cells = Path(cell.arm).with_name("results.csv"), sys.modules["cells"]
    cells.write(path, {**cells.read(path), cells.Cell(cell.arm, 10 + cell.seed): [cells.Number("other", 1.0)]})
    return square(cell)


@pytest.fixture
def in_this_process(cells: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells.multiprocessing, "get_context", lambda _: _Fork())


class _Fork:
    """Test functions cannot be imported by a spawned process."""

    def Pool(self, workers: int, maxtasksperchild: int) -> Any:  # noqa: N802
        from multiprocessing import context

        return context.ForkContext().Pool(workers, maxtasksperchild=maxtasksperchild)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_done_is_not_done_again_and_a_failure_loses_nothing(cells: Any, tmp_path: Path, workers: int) -> None:
    arm, path = str(tmp_path / "arm"), tmp_path / "results.csv"
    wanted = [cells.Cell(arm, seed) for seed in (0, 1, 2)]
    assert cells.run_queue(wanted[:2], square, path, workers) == 2
    with pytest.raises(RuntimeError, match="third cell"):
        cells.run_queue([*wanted, cells.Cell(arm, 3)], square, path, 1)
    found = cells.read(path)
    assert list(found) == wanted
    assert cells.run_queue(wanted, square, path, workers) == 0
    assert sorted(Path(arm).read_text().split()) == ["0", "1", "2", "3"]
    numbers = {number.quantity: number for number in found[wanted[2]]}
    assert (numbers["square"].value, numbers["square"].low, numbers["square"].high) == (4, 0.5, None)
    assert numbers["nothing"].value is None
    assert numbers[cells.MEMORY].value > 1
    assert numbers[cells.SECONDS].value >= 0


@pytest.mark.usefixtures("in_this_process")
def test_what_another_queue_has_written_since_stays(cells: Any, tmp_path: Path) -> None:
    path, arm = tmp_path / "results.csv", str(tmp_path / "marks")
    cells.run_queue([cells.Cell(arm, seed) for seed in (1, 2)], square_beside_another, path)
    assert {cell.seed for cell in cells.read(path)} == {1, 2, 11, 12}


@pytest.mark.usefixtures("in_this_process")
def test_what_another_queue_has_finished_since_is_not_run_again(cells: Any, tmp_path: Path) -> None:
    path, arm = tmp_path / "results.csv", str(tmp_path / "marks")
    assert cells.run_queue([cells.Cell(arm, seed) for seed in (1, 11, 2)], square_beside_another, path) == 2
    assert Path(arm).read_text().split() == ["1", "2"]


@pytest.mark.usefixtures("in_this_process")
def test_no_cell_is_begun_after_the_time(cells: Any, tmp_path: Path) -> None:
    wanted = [cells.Cell(str(tmp_path / "arm"), seed) for seed in (0, 1)]
    assert cells.run_queue(wanted, square, tmp_path / "r.csv", minutes=-1) == 0


def test_the_table_shows_mean_and_range_of_the_seeds(cells: Any, tmp_path: Path) -> None:
    results = {cells.Cell("a", seed): [cells.Number("x", value)] for seed, value in enumerate((0.5, 0.7, 0.6))}
    cells.write(tmp_path / "r.csv", results | {cells.Cell("b", 0): [cells.Number("x", None)]})
    lines = cells.summary(tmp_path / "r.csv", ["x"]).splitlines()
    assert lines[2] == "| a | 3 | 0.600 (0.500 to 0.700) |"
    assert lines[3] == "| b | 1 | – |"
