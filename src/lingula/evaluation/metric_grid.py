"""The table of a task that the page knows nothing about: one line per setting, label and run, one column per metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.scored import MACRO

EVERYTHING = "all"
"""Name of the only line of a task without labels and settings."""


@dataclass(frozen=True)
class GridLine:
    """One run's numbers for one label.

    Args:
        group: The setting, or the subgroup; empty where there is none or where the line is named by it.
        name: The label, else the setting.
        run: The run.
        n: Images behind the numbers, at most.
        cells: One per metric of the grid; None where the run has no such number.
    """

    group: str
    name: str
    run: str
    n: int
    cells: list[ResultRow | None]


@dataclass(frozen=True)
class MetricGrid:
    """Lines and columns of one table."""

    metrics: list[str]
    lines: list[GridLine]

    @property
    def groups(self) -> dict[str, list[GridLine]]:
        """Group to its lines, in order."""
        found: dict[str, list[GridLine]] = {}
        for line in self.lines:
            found.setdefault(line.group, []).append(line)
        return found


def metric_grid(results: Mapping[str, TaskResult]) -> MetricGrid:
    """Lay out what was measured on all patients: the mean over labels first, runs of one label under each other."""
    return _lay_out(results, [row for result in results.values() for row in result.rows if row.subgroup == "all"])


def subgroup_grid(results: Mapping[str, TaskResult]) -> MetricGrid:
    """Lay out the subgroups: the means over labels where the task has them, else every label."""
    rows = [row for result in results.values() for row in result.rows if row.subgroup != "all"]
    means = [row for row in rows if row.label in ("", MACRO)]
    return _lay_out(results, means or rows)


def _lay_out(results: Mapping[str, TaskResult], rows: list[ResultRow]) -> MetricGrid:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    keys = list(dict.fromkeys((row.subgroup, row.setting, row.label) for row in rows))
    labelled = len({label for _, _, label in keys}) > 1
    blocks = list(dict.fromkeys(key[:2] for key in keys))
    keys.sort(key=lambda key: (blocks.index(key[:2]), key[2] not in ("", MACRO)))
    lines = []
    for subgroup, setting, label in keys:
        for run, result in results.items():
            cells = [result.find(metric, label, setting, subgroup) for metric in metrics]
            known = [cell for cell in cells if cell is not None]
            if known:
                parts = [part for part in (subgroup if subgroup != "all" else "", setting) if part]
                group, name = (", ".join(parts), label) if labelled else ("", ", ".join([*parts, *([label] if label else [])]))
                lines.append(GridLine(group, name or EVERYTHING, run, max(cell.n for cell in known), cells))
    return MetricGrid(metrics, lines)
