"""The report page: one self-contained HTML file about one run or several."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lingula.core.drawing import slug
from lingula.core.errors import UserError
from lingula.core.files import write_text
from lingula.core.page import render_page
from lingula.core.wording import capital
from lingula.evaluation import figures
from lingula.evaluation.calibration import calibration
from lingula.evaluation.figures import ROC_PANELS
from lingula.evaluation.grounding.asked import PHRASE
from lingula.evaluation.metric_grid import MetricGrid, label_grid, metric_grid, subgroup_grid
from lingula.evaluation.pictures import SavedPicture
from lingula.evaluation.result import CLASSIFICATION, ResultRow, TaskResult
from lingula.evaluation.run_facts import evaluation_commands, run_facts, settings_of, training_command
from lingula.evaluation.run_view import RunView
from lingula.evaluation.samples import Said, Sample
from lingula.evaluation.scored import MACRO
from lingula.evaluation.tables import (
    cell,
    chance_text,
    difference_lines,
    grid_cell,
    has_own_layout,
    keys_for,
    results_for,
    row_name,
    setting_name,
    tasks_of,
    title_of,
)

GRIDS = {"grid": metric_grid, "grid_labels": label_grid, "grid_subgroups": subgroup_grid}
"""Tables of a task without a layout of its own; one without lines is left out."""
INTERVALS = {"geometry": "jackknife over patients"}
WIDE = 1.6
"""Width over height from which on a picture stands alone in its row."""


def write_report(runs: Sequence[RunView], path: Path, title: str = "") -> Path:
    """Write the page of one or several runs; runs without evaluation show their training only.

    Args:
        runs: The runs, compared in this order; differences are taken from the first one.
        path: The HTML file.
        title: Heading; the run's name where none is given.

    Raises:
        UserError: There is no run.
    """
    write_text(path, render_report(runs, title))
    return path


def render_report(runs: Sequence[RunView], title: str = "") -> str:
    """Return the page as HTML text without any reference to another file or host.

    Raises:
        UserError: There is no run.
    """
    if not runs:
        raise UserError("no run to report on", "Name at least one run folder.")
    return render_page(
        "lingula.evaluation",
        "report.html.j2",
        kind="report",
        title=title or " vs ".join(run.name for run in runs),
        phantom=any(run.phantom for run in runs),
        runs=[
            {"name": run.name, "colour": c, "facts": run_facts(run), "command": training_command(run)}
            for run, c in _coloured(runs)
        ],
        data=data_facts(runs),
        curves=figures.training_curves(runs, figures.looks([run.name for run in runs])),
        tasks=[task_section(task, runs) for task in tasks_of(runs)],
        differences=difference_lines(runs),
        report_command=shlex.join(["lingula", "report", *(str(run.path) for run in runs)]),
        samples=sample_cards(runs),
        settings=[{"name": run.name, "groups": settings_of(run)} for run in runs],
    )


def _coloured(runs: Sequence[RunView]) -> list[tuple[RunView, str]]:
    look = figures.looks([run.name for run in runs])
    return [(run, look[run.name].colour) for run in runs]


def data_facts(runs: Sequence[RunView]) -> list[dict[str, Any]]:
    """Return the counts of each store that the runs use, once per store."""
    seen: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run.data.get("splits"):
            seen.setdefault(str(run.data.get("fingerprint", run.data.get("store"))), run.data)
    return [
        {
            "store": data.get("store", "–"),
            "phantom": bool(data.get("phantom")),
            "size": data.get("size", "–"),
            "fingerprint": str(data.get("fingerprint", ""))[:12],
            "columns": list(dict.fromkeys(key for counts in data["splits"].values() for key in counts)),
            "splits": data["splits"],
            "quarantined": data.get("quarantined", 0),
            "findings": sorted((data.get("findings") or {}).items(), key=lambda item: -item[1]["present"]),
        }
        for data in seen.values()
    ]


def task_section(task: str, runs: Sequence[RunView]) -> dict[str, Any]:
    """Return everything that the page shows about one task."""
    results = results_for(task, runs)
    any_result = next(iter(results.values()))
    look = figures.looks([run.name for run in runs])
    own, classify = has_own_layout(task), task in CLASSIFICATION
    setting = _setting_of_figures(results)
    curves = {name: calibration(result) for name, result in results.items()} if classify else {}
    count = len(any_result.protocol.get("findings", []))
    return {
        "id": task,
        "anchor": slug(task),
        "title": title_of(task),
        "thresholds": classify,
        "store": any_result.store,
        "split": any_result.split,
        "n": max((row.n for row in any_result.rows), default=0),
        "columns": [{"name": n, "colour": look[n].colour, "ceiling": r.task == "supervised" != task} for n, r in results.items()],
        "groups": _table_groups(task, results) if own else {},
        **{name: None if own else _grid_table(make(results), look) for name, make in GRIDS.items()},
        "bars": _bars(task, results, setting, count > 1, look),
        "bars_setting": PHRASE if task == "ground" else setting_name(task, setting) if setting else "",
        "roc": figures.roc_curves(results, look) if classify and len(any_result.settings) == 1 else "",
        "roc_of": f"of {ROC_PANELS} of the {count} findings, by name" if count > ROC_PANELS else "per finding",
        "spectrum": figures.singular_spectra(results, look) if task == "geometry" else "",
        "intervals": INTERVALS.get(task, "bootstrap over patients") if any(r.has_intervals for r in results.values()) else "",
        "calibration": figures.calibration_curves(task, curves, look),
        "calibration_errors": figures.calibration_errors(curves),
        "phantom": any(result.phantom for result in results.values()),
        "commands": evaluation_commands(task, runs),
        "subgroups": subgroup_rows(results, setting) if classify else [],
        "notes": notes_of(results),
        "protocol": protocol_rows(results),
        "pictures": picture_groups(task, runs),
    }


def _setting_of_figures(results: Mapping[str, TaskResult]) -> str:
    """The last setting that all runs have, else the last of the first run."""
    first, *others = results.values()
    shared = [setting for setting in first.settings if all(setting in other.settings for other in others)]
    return (shared or first.settings or [""])[-1]


def _table_groups(task: str, results: Mapping[str, TaskResult]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for key in keys_for(task, results):
        found = [result.find(*key) for result in results.values()]
        groups.setdefault(setting_name(task, key[2]) if key[2] else "", []).append(_table_row(task, key, found))
    return groups


def _grid_table(grid: MetricGrid, look: Mapping[str, figures.Look]) -> dict[str, Any] | None:
    """Return the table of a task that has no layout of its own here; nothing where it has no line."""
    if not grid.lines:
        return None
    groups = {
        group: [
            {
                "name": each.name,
                "run": each.run,
                "colour": look[each.run].colour,
                "n": each.n,
                "cells": list(map(grid_cell, each.cells)),
            }
            for each in lines
        ]
        for group, lines in grid.groups.items()
    }
    several = len({line.run for line in grid.lines}) > 1
    return {"metrics": grid.metrics, "groups": groups, "several": several, "heading": "label" if any(groups) else ""}


def _bars(task: str, results: Mapping[str, TaskResult], setting: str, several: bool, look: Mapping[str, figures.Look]) -> str:
    """Draw AUROC per finding; of a task that has no layout here its first metric per label, where it has several labels."""
    if task in CLASSIFICATION:
        return figures.finding_bars(task, results, setting, look) if several else ""
    if task == "ground":
        return figures.finding_bars(task, results, PHRASE, look) if several else ""
    rows = [row for result in results.values() for row in result.rows if row.setting == setting]
    labels = {row.label for row in rows} - {"", MACRO}
    return "" if has_own_layout(task) or len(labels) < 2 else figures.finding_bars(task, results, setting, look, rows[0].metric)


def picture_groups(task: str, runs: Sequence[RunView]) -> list[dict[str, Any]]:
    """Return each run's pictures of a task; a wide one takes the whole width of the page."""
    return [
        {"name": run.name, "colour": colour, "pictures": [_picture(task, each) for each in run.pictures[task]]}
        for run, colour in _coloured(runs)
        if run.pictures.get(task)
    ]


def _picture(task: str, picture: SavedPicture) -> dict[str, Any]:
    alt = picture.caption or f"Picture of {title_of(task)}, without a caption"
    wide = picture.width > WIDE * picture.height
    return {"png": picture.png, "caption": picture.caption, "alt": alt, "wide": wide}


def notes_of(results: Mapping[str, TaskResult]) -> list[str]:
    """Return each note once, with the names of the runs where not all share it."""
    owners: dict[str, list[str]] = {}
    for name, result in results.items():
        for note in result.notes:
            owners.setdefault(note, []).append(name)
    return [note if len(names) == len(results) else f"{', '.join(names)}: {note}" for note, names in owners.items()]


def _table_row(task: str, key: tuple[str, str, str], found: list[ResultRow | None]) -> dict[str, Any]:
    chance = next((row.chance for row in found if row is not None and row.chance is not None), None)
    best = None if task == "geometry" else _best(key[0], found)
    cells = []
    for row in found:
        value, _, rest = cell(row, times=task == "retrieve").partition(" [")
        interval, _, ratio = rest.partition("]")
        cells.append({"value": value, "interval": interval, "times": ratio.strip(), "best": row is not None and row is best})
    return {"name": row_name(key), "cells": cells, "chance": chance_text(key[0], chance)}


def _best(metric: str, found: list[ResultRow | None]) -> ResultRow | None:
    """Return the best row of several; none stands out alone or among equals."""
    rows = [row for row in found if row is not None and row.value is not None]
    if len({row.value for row in rows}) < 2:
        return None
    choose = min if metric == "median rank" else max
    return choose(rows, key=lambda row: row.value if row.value is not None else 0.0)


def subgroup_rows(results: Mapping[str, TaskResult], setting: str) -> list[dict[str, Any]]:
    """Return AUROC (mean of findings, or the only finding) per subgroup, one line each."""
    lines: dict[str, dict[str, ResultRow]] = {}
    for name, result in results.items():
        single = result.protocol.get("findings", [])
        label = single[0] if len(single) == 1 else "macro"
        for row in result.rows:
            if (row.metric, row.setting, row.label) == ("AUROC", setting, label) and row.subgroup != "all":
                lines.setdefault(row.subgroup, {})[name] = row
    return [
        {"name": subgroup, "n": max(row.n for row in rows.values()), "cells": [_plain(rows.get(name)) for name in results]}
        for subgroup, rows in lines.items()
    ]


def _plain(row: ResultRow | None) -> dict[str, str]:
    value, _, rest = cell(row).partition(" [")
    return {"value": value, "interval": rest.rstrip("]")}


def protocol_rows(results: Mapping[str, TaskResult]) -> list[tuple[str, str]]:
    """Return the task's protocol as name and text, once; what differs between runs is told for each."""
    told = {run: dict(_protocol(result)) for run, result in results.items()}
    rows: list[tuple[str, str]] = []
    for name in dict.fromkeys(name for each in told.values() for name in each):
        values = {run: each[name] for run, each in told.items() if name in each}
        alike = len(set(values.values())) == 1
        rows += [(name, next(iter(values.values())))] if alike else [(f"{name}, {run}", text) for run, text in values.items()]
    return rows


def _protocol(result: TaskResult) -> Iterator[tuple[str, str]]:
    """Yield one result's protocol; prompts are written out."""
    for name, value in result.protocol.items():
        if name == "prompts" and isinstance(value, dict):
            for finding, sides in value.items():
                yield f"prompts: {finding}", f"+ {' · '.join(sides['positive'])}  − {' · '.join(sides['negative'])}"
        elif name != "options" and value not in (None, [], ""):
            yield name, _text(value)


def _text(value: Any) -> str:
    """Write a value of a protocol for people: numbers with four digits, no brackets."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ("; " if any(isinstance(each, Mapping) for each in value) else ", ").join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def sample_cards(runs: Sequence[RunView]) -> list[dict[str, Any]]:
    """Return the images that every run with samples has, with what each run says about them."""
    shown = [(run, colour, {s.row_id: s for s in run.samples}) for run, colour in _coloured(runs) if run.samples]
    if not shown:
        return []
    first = shown[0][0].samples
    common = [sample for sample in first if all(sample.row_id in samples for _, _, samples in shown)]
    return [
        {
            "image": sample.image,
            "row_id": sample.row_id,
            "alt": f"{capital(sample.kind)} {sample.row_id}; labelled: {', '.join(sample.present) or 'no finding'}.",
            "present": sample.present,
            "text": sample.text,
            "runs": [_said_by(run.name, colour, samples[sample.row_id]) for run, colour, samples in shown],
        }
        for sample in common
    ]


def _said_by(name: str, colour: str, sample: Sample) -> dict[str, Any]:
    said = [
        {"finding": s.finding, "percentile": f"{s.percentile:.0f}", "mark": _mark(s), "words": _words(s)} for s in sample.said
    ]
    return {"name": name, "colour": colour, "said": said, "fetched": sample.fetched}


def _mark(said: Said) -> str:
    return "?" if said.truth is None else "✓" if said.truth else "✗"


def _words(said: Said) -> str:
    return "unknown" if said.truth is None else "present" if said.truth else "absent"
