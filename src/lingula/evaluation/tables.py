"""Tables for the terminal: several runs beside each other and beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from lingula.core.errors import UserError
from lingula.evaluation.comparison import paired_difference
from lingula.evaluation.metric_grid import MetricGrid, metric_grid
from lingula.evaluation.result import RANKING, ResultRow, TaskResult
from lingula.evaluation.run_view import RunView
from lingula.evaluation.scored import MACRO

WIDTH, FIRST, RUN, COUNT, BETWEEN = 100, 22, 20, 5, 3
"""Columns of the terminal; those of a table's names at least, of the names of runs, of a count, and between two columns."""
HEADLINES = {
    "zero-shot": ("AUROC", "AUPRC", "F1", "MCC"),
    "probe": ("AUROC", "AUPRC"),
    "token-probe": ("AUROC", "AUPRC", "F1", "balanced accuracy"),
    "fine-tune": ("AUROC", "AUPRC"),
    "geometry": ("effective rank", "mean correlation", "uniformity", "alignment", "Fisher ratio"),
    "supervised": ("AUROC", "AUPRC", "F1", "MCC"),
    "ground": ("pointing", "IoU", "Dice", "CNR", "AUROC", "right side", "shift"),
}
"""Metrics that the short tables show; retrieval shows what its directions are judged by."""
COMPARED = {"segment": ("Dice", "NSD")}
"""Metrics whose paired differences are told, where not all are."""
TITLES = {
    "zero-shot": "Zero-shot classification",
    "probe": "Linear probe",
    "token-probe": "Probe on the tokens",
    "fine-tune": "Fine-tuning",
    "supervised": "Supervised classification",
    "retrieve": "Retrieval",
    "segment": "Segmentation",
    "detect": "Detection",
    "ground": "Grounding",
    "generate": "Report generation",
    "geometry": "Geometry of the embeddings",
}


def title_of(task: str) -> str:
    """Write a task's name for a heading; one that has no title of its own is called by its name."""
    return TITLES.get(task, task.replace("-", " ").capitalize())


def has_own_layout(task: str) -> bool:
    """Whether a task's table has rows of metrics and columns of runs; every other task gets the grid of label × metric."""
    return task in HEADLINES or task in RANKING


def cell(row: ResultRow | None, digits: int = 3, times: bool = False) -> str:
    """Write a number with its interval, e.g. `0.812 [0.79, 0.83]`, with `times` also how many times chance it is.

    An undefined number is an en dash.
    """
    if row is None or row.value is None:
        return "–"
    if row.metric == "median rank":
        digits, ends = _places(row.value), 0
    else:
        ends = min(digits, 2) if row.value >= 0.1 else digits
    text = f"{row.value:.{digits}f}"
    if row.low is not None and row.high is not None:
        text += f" [{row.low:.{ends}f}, {row.high:.{ends}f}]"
    if times and row.chance and row.metric != "median rank":
        ratio = row.value / row.chance
        text += f" {ratio:.0f}×" if ratio >= 10 else f" {ratio:.1f}×"
    return text.replace("-", "−")


def chance_text(metric: str, chance: float | None) -> str:
    """Write what chance gives; ranks may lie in the middle of two."""
    if chance is None:
        return "–"
    return f"{chance:.{_places(chance) if metric == 'median rank' else 3}f}"


def _places(rank: float) -> int:
    return 0 if float(rank).is_integer() else 1


def results_for(task: str, runs: Sequence[RunView]) -> dict[str, TaskResult]:
    """Return run to result; a supervised run stands beside the zero-shot ones as the ceiling."""
    found = {run.name: run.results[task] for run in runs if task in run.results}
    if task == "zero-shot" and found:
        found |= {run.name: run.results["supervised"] for run in runs if run.name not in found and "supervised" in run.results}
    return found


def tasks_of(runs: Sequence[RunView]) -> list[str]:
    """Return the tasks that any run has: ours in the usual order, then any other; supervised results hide in zero-shot."""
    found = dict.fromkeys(task for run in runs for task in run.results)
    tasks = [*(task for task in TITLES if task in found), *(task for task in found if task not in TITLES)]
    return [task for task in tasks if not (task == "supervised" and "zero-shot" in tasks)]


def keys_for(task: str, results: Mapping[str, TaskResult], detail: bool = False) -> list[tuple[str, str, str]]:
    """Return metric, label, setting of the rows that a table shows; with `detail` also AUROC per finding."""
    shown = {
        (row.metric, row.label, row.setting)
        for result in results.values()
        for row in result.rows
        if row.subgroup == "all" and (_is_headline(task, row, result) or (detail and row.metric == "AUROC"))
    }
    single = all(_only_finding(result) for result in results.values())
    ordered = dict.fromkeys((row.metric, row.label, row.setting) for result in results.values() for row in result.rows)
    settings = list(dict.fromkeys(setting for _, _, setting in ordered))
    keys = [key for key in ordered if key in shown and not (key[1] == MACRO and single)]
    return sorted(keys, key=lambda key: (settings.index(key[2]), key[1] not in ("", MACRO)))


def _is_headline(task: str, row: ResultRow, result: TaskResult) -> bool:
    """Whether a short table shows the row: means over findings, and for retrieval what the direction is judged by."""
    if task != "retrieve":
        return row.metric in HEADLINES[task] and (row.label in ("", MACRO) or _only_finding(result))
    if row.setting == "image to image":
        return row.metric in (f"precision@{max(result.protocol['k'])}", "mAP")
    return True


def _only_finding(result: TaskResult) -> bool:
    """Whether there is one finding only, so that the macro mean says nothing new."""
    return len(result.protocol.get("findings", [])) == 1


def tables_for(task: str, runs: Sequence[RunView], detail: bool = False) -> list[Table]:
    """Build a task's table: one row per metric, one column per run, then chance; of a task unknown here, its grid.

    A grid that is too wide for the terminal becomes several tables, each with some of its metrics.

    Args:
        task: The task.
        runs: The runs to compare.
        detail: Whether to add AUROC per finding.
    """
    results = results_for(task, runs)
    any_result = next(iter(results.values()))
    title = f"{title_of(task)}: {any_result.store}, {any_result.split}" + (" (phantom numbers)" if any_result.phantom else "")
    if not has_own_layout(task):
        grid = metric_grid(results)
        return [_grid_table(grid, places, "" if places.start else title) for places in _columns(grid)]
    table = _titled(title)
    table.add_column("", overflow="fold", min_width=FIRST)
    for name, result in results.items():
        ceiling = result.task == "supervised" and task == "zero-shot"
        table.add_column(f"{name}\n(ceiling)" if ceiling else name, justify="right", overflow="fold")
    table.add_column("chance", justify="right")
    stacked = len(results) > (2 if task == "retrieve" else 3)
    setting = ""
    for key in keys_for(task, results, detail):
        if key[2] != setting:
            setting = key[2]
            table.add_section()
            table.add_row(setting_name(task, setting), style="italic")
        rows = [result.find(*key) for result in results.values()]
        chance = next((row.chance for row in rows if row is not None and row.chance is not None), None)
        cells = [cell(row, times=task == "retrieve") for row in rows]
        cells = [text.replace(" [", "\n[") if stacked else text for text in cells]
        indent = "  " if setting else ""
        table.add_row(indent + row_name(key), *cells, chance_text(key[0], chance))
    return [table]


def _titled(title: str) -> Table:
    return Table(title=title or None, title_justify="left", title_style="bold")


def _columns(grid: MetricGrid) -> list[range]:
    """Share the metrics out among tables that fit the terminal."""
    known, start = WIDTH - FIRST - COUNT - 3 * BETWEEN - (RUN + BETWEEN if _several(grid) else 0), 0
    room, found = known, []
    for place in range(len(grid.metrics)):
        needed = _needed(grid, place) + BETWEEN
        if needed > room and place > start:
            found.append(range(start, place))
            room, start = known, place
        room -= needed
    return [*found, range(start, len(grid.metrics))]


def _needed(grid: MetricGrid, place: int) -> int:
    """Columns of the terminal that a metric needs."""
    parts = (part for line in grid.lines for part in grid_cell(line.cells[place]))
    return max(map(len, [*grid.metrics[place].split(), *parts]))


def _several(grid: MetricGrid) -> bool:
    return len({line.run for line in grid.lines}) > 1


def _grid_table(grid: MetricGrid, places: range, title: str) -> Table:
    table, several = _titled(title), _several(grid)
    table.add_column("", overflow="fold", min_width=FIRST)
    if several:
        table.add_column("run", overflow="fold")
    table.add_column("n", justify="right")
    for place in places:
        table.add_column(grid.metrics[place], justify="right", min_width=_needed(grid, place))
    for group, lines in grid.groups.items():
        table.add_section()
        if group:
            table.add_row(group, style="italic")
        for line in lines:
            if all(line.cells[place] is None for place in places):
                continue
            names = [("  " if group else "") + line.name, *([line.run] if several else [])]
            table.add_row(
                *names, str(line.n), *("\n".join(part for part in grid_cell(line.cells[place]) if part) for place in places)
            )
    return table


def grid_cell(row: ResultRow | None) -> tuple[str, str, str]:
    """Write a number, its interval and its chance, each empty where there is none: `0.812`, `0.79 – 0.83`, `chance 0.500`."""
    digits = 1 if row is not None and row.value is not None and abs(row.value) >= 10 else 3
    value, _, rest = cell(row, digits).partition(" [")
    chance = "" if row is None or row.chance is None else f"chance {row.chance:.{digits}f}"
    return value, rest.rstrip("]").replace(", ", " – "), chance


def row_name(key: tuple[str, str, str]) -> str:
    """Write what a row is: finding and metric."""
    return " ".join(part for part in (key[1], key[0]) if part)


def setting_name(task: str, setting: str) -> str:
    """Write what a setting is."""
    return f"{setting} of labels" if task in ("probe", "fine-tune") else setting


def difference_lines(runs: Sequence[RunView], samples: int = 1000, seed: int = 0) -> list[str]:
    """Compare each run with the first one that has the task, on the same patients, in one line per setting.

    Runs that were scored on different images are named as not comparable.
    """
    lines = []
    for task in tasks_of(runs):
        results = results_for(task, runs)
        first, *others = results.items()
        for name, result in others:
            try:
                rows = paired_difference(result, first[1], samples, seed, metrics=("AUROC",))
            except UserError as error:
                lines.append(f"{title_of(task)}: {error.problem}")
                continue
            lines += [
                f"{title_of(task)}: {name} − {first[0]}: {_difference(task, row)}" for row in rows if _headline(row, result)
            ]
    for run in runs:
        for task, differences in run.differences.items():
            chosen = [row for row in differences if _headline(row, run.results[task])]
            lines += [f"{title_of(task)}: {run.name} − its initial weights: {_difference(task, row)}" for row in chosen]
    return lines


def _headline(row: ResultRow, result: TaskResult) -> bool:
    if row.metric == "recall@1":
        return True
    if not has_own_layout(result.task):
        compared = COMPARED.get(result.task, (row.metric,))
        return row.metric in compared and row.subgroup == "all" and row.label in ("", MACRO)
    return row.metric == "AUROC" and (row.label != MACRO if _only_finding(result) else row.label == MACRO)


def _difference(task: str, row: ResultRow) -> str:
    value = "–" if row.value is None else f"{row.value:+.3f}"
    ends = "" if row.low is None or row.high is None else f" [{row.low:+.3f}, {row.high:+.3f}]"
    value, ends = value.replace("-", "−"), ends.replace("-", "−")
    setting = f", {setting_name(task, row.setting)}" if row.setting else ""
    return f"{row_name((row.metric, row.label, ''))}{setting} {value}{ends}"


def print_tables(runs: Sequence[RunView], console: Console | None = None, detail: bool = False) -> None:
    """Print every task's tables, the paired differences, and that phantom numbers are phantom numbers."""
    console = console or Console(width=WIDTH)
    for task in tasks_of(runs):
        for table in tables_for(task, runs, detail):
            console.print(table)
    for line in difference_lines(runs):
        console.print(line, highlight=False, markup=False)
    if any(result.has_intervals for run in runs for result in run.results.values()):
        console.print("Intervals: 95 %, bootstrap over patients; differences are paired.", style="dim")
    if any(run.phantom for run in runs):
        console.print("Phantom numbers: synthetic patients, not a claim about people.", style="bold")
