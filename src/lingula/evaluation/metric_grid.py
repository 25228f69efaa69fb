"""The table of a task that the page knows nothing about: one line per setting, label and run, one column per metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.scored import MACRO, MICRO

EVERYTHING = "all"
"""Name of the only line of a task without labels and settings."""
MEANS = ("", MACRO, MICRO)
"""Labels of what is no single label's."""


@dataclass(frozen=True)
class GridLine:
    """One run's numbers for one label.

    Args:
        group: The setting, or the subgroup; empty where there is none or where the line is named by it.
        name: The label, else the setting, whose mean over labels the line then is.
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
    """Lay out what was measured on all patients: the means over labels where a setting has them, else every label."""
    return _lay_out(results, _split(results)[0])


def label_grid(results: Mapping[str, TaskResult]) -> MetricGrid:
    """Lay out the labels behind the means of `metric_grid`; no line where it shows every label itself."""
    return _lay_out(results, _split(results)[1])


def subgroup_grid(results: Mapping[str, TaskResult]) -> MetricGrid:
    """Lay out the subgroups: the means over labels where the task has them, else every label."""
    rows = [row for result in results.values() for row in result.rows if row.subgroup != "all"]
    means = [row for row in rows if row.label in MEANS]
    return _lay_out(results, means or rows)


def _split(results: Mapping[str, TaskResult]) -> tuple[list[ResultRow], list[ResultRow]]:
    """Rows of all patients: those of a short table, and those for which its means stand.

    The mean over a single label says nothing new: only the label is shown.
    """
    rows = [row for result in results.values() for row in result.rows if row.subgroup == "all"]
    if len({row.label for row in rows} - set(MEANS)) == 1:
        rows = [row for row in rows if row.label not in (MACRO, MICRO)]
    averaged = {row.setting for row in rows if row.label in MEANS}
    short = [row for row in rows if row.label in MEANS or row.setting not in averaged]
    return short, [row for row in rows if row.label not in MEANS and row.setting in averaged]


def _lay_out(results: Mapping[str, TaskResult], rows: list[ResultRow]) -> MetricGrid:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    keys = list(dict.fromkeys((row.subgroup, row.setting, row.label) for row in rows))
    labelled = len({label for _, _, label in keys}) > 1
    blocks = list(dict.fromkeys(key[:2] for key in keys))
    keys.sort(key=lambda key: (blocks.index(key[:2]), key[2] not in MEANS))
    lines = []
    for subgroup, setting, label in keys:
        for run, result in results.items():
            cells = [result.find(metric, label, setting, subgroup) for metric in metrics]
            known = [cell for cell in cells if cell is not None]
            if known:
                parts = [part for part in (subgroup if subgroup != "all" else "", setting) if part]
                named = [*parts, label] if label not in MEANS else parts
                group, name = (", ".join(parts), label) if labelled else ("", ", ".join(named) or label)
                lines.append(GridLine(group, name or EVERYTHING, run, max(cell.n for cell in known), cells))
    return MetricGrid(metrics, lines)
