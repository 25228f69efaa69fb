"""The numbers of a run: one JSON line per entry, and TensorBoard events."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lingula.core.files import read_json_lines, write_text

METRICS, EVENTS = "metrics.jsonl", "tensorboard"


class Logbook:
    """Writes `metrics.jsonl` and TensorBoard events of a run.

    Args:
        run: The run's folder.
        first_step: Steps already done; entries after it (of a run that died later) are dropped.
        hidden: Write nothing (the other processes of a distributed run).
    """

    def __init__(self, run: Path, first_step: int = 0, hidden: bool = False) -> None:
        self._hidden = hidden
        if hidden:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / METRICS
        kept = [entry for entry in read_metrics(run) if entry["step"] <= first_step]
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))
        self._file = self.path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(run / EVENTS), purge_step=first_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add an entry.

        Args:
            step: Steps done so far.
            values: Name to number.
        """
        if self._hidden or not values:
            return
        entry = {"step": step, "time": round(time.time(), 3), **values}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self) -> Logbook:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._hidden:
            self._file.close()
            self._events.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's `metrics.jsonl`, in order; a line that a kill cut short is left out."""
    return read_json_lines(run / METRICS)
