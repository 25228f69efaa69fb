from __future__ import annotations

from pathlib import Path

from lingula.training.logbook import METRICS, Logbook, read_metrics


def test_entries_after_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    with Logbook(tmp_path) as log:
        for step in (10, 20, 30):
            log.write(step, {"loss": float(step)})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 40, "lo')
    assert [entry["step"] for entry in read_metrics(tmp_path)] == [10, 20, 30]
    with Logbook(tmp_path, first_step=20) as log:
        log.write(30, {"loss": -1.0})
    assert [(entry["step"], entry["loss"]) for entry in read_metrics(tmp_path)] == [(10, 10.0), (20, 20.0), (30, -1.0)]


def test_hidden_logbook_writes_nothing(tmp_path: Path) -> None:
    with Logbook(tmp_path, hidden=True) as log:
        log.write(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())
