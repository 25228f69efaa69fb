"""The report page: one self-contained HTML file about one run or several."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from lingula.core.errors import UserError
from lingula.core.files import write_text
from lingula.evaluation import figures
from lingula.evaluation.calibration import calibration
from lingula.evaluation.metric_grid import MetricGrid, metric_grid, subgroup_grid
from lingula.evaluation.pictures import SavedPicture
from lingula.evaluation.result import CLASSIFICATION, ResultRow, TaskResult
from lingula.evaluation.run_view import RunView
from lingula.evaluation.samples import Said, Sample
from lingula.evaluation.scored import MACRO
from lingula.evaluation.tables import (
    cell,
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

INTERVALS = {"geometry": "jackknife over patients"}
WIDE = 1.6
"""Width over height from which on a picture stands alone in its row."""
SHOWN_SETTINGS = ("method", "image_encoder", "text_encoder", "data", "augment", "optimisation", "runtime")


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
    import jinja2

    source = files("lingula.evaluation").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    safe = environment.from_string(source)
    return safe.render(
        title=title or " vs ".join(run.name for run in runs),
        date=datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        phantom=any(run.phantom for run in runs),
        runs=[
            {"name": run.name, "colour": c, "facts": run_facts(run), "command": training_command(run)}
            for run, c in _coloured(runs)
        ],
        data=data_facts(runs),
        curves=figures.training_curves(runs),
        tasks=[task_section(task, runs) for task in tasks_of(runs)],
        differences=difference_lines(runs),
        report_command=shlex.join(["lingula", "report", *(str(run.path) for run in runs)]),
        samples=sample_cards(runs),
        settings=[{"name": run.name, "groups": settings_of(run)} for run in runs],
    )


def _coloured(runs: Sequence[RunView]) -> list[tuple[RunView, str]]:
    colour = figures.colours([run.name for run in runs])
    return [(run, colour[run.name]) for run in runs]


def run_facts(run: RunView) -> list[tuple[str, str]]:
    """Return what was trained, from which weights, how large, on what machine."""
    image, text = _group(run.config, "image_encoder"), _group(run.config, "text_encoder")
    optimisation, data, runtime = (_group(run.config, name) for name in ("optimisation", "data", "runtime"))
    started, samples = _group(run.environment, "starting_weights"), _group(run.environment, "samples")
    frozen = "" if text.get("frozen") is None else (", frozen" if text["frozen"] else ", trained along")
    facts = [
        ("Method", run.method),
        ("Image encoder", f"{image.get('name', '–')}, {data.get('image_size', '–')} px"),
        ("Weights", _weights(image, started)),
        ("Text encoder", "none" if run.method == "supervised" else f"{text.get('name', '–')}{frozen}"),
        ("Parameters", parameters_of(run)),
        ("Trained on", str(samples.get("summary") or "")),
        ("Steps", _duration(run, optimisation)),
        ("Batch size", _thousands(optimisation.get("batch_size"))),
        ("Seed", str(runtime.get("seed", "–"))),
    ]
    environment = run.environment
    for label, name in (("Device", "device"), ("Commit", "git_commit"), ("torch", "torch")):
        value = _deep(environment, name)
        if value is not None:
            facts.append((label, str(value)[:60]))
    return [(label, value) for label, value in facts if value]


def _weights(image: Mapping[str, Any], started: Mapping[str, Any]) -> str:
    """Write what the image encoder started from, in the words of the option; a missing entry is told as missing."""
    origin = image.get("weights") or started.get("image_encoder") or "not recorded"
    begun = started.get("init_from")
    return f"weights: {origin}" + (f", then all of {begun}" if begun else "")


def training_command(run: RunView) -> str:
    """Write the command that repeats the training from the run's own frozen configuration."""
    return shlex.join(["lingula", "pretrain", run.method, "--config", str(run.path / "config.yaml"), "--run", "NEW_FOLDER"])


def evaluation_commands(task: str, runs: Sequence[RunView]) -> list[str]:
    """Write the command behind each run's numbers; results of older versions do not say theirs."""
    commands = []
    for run in runs:
        for name in (task, "supervised"):
            if name in run.results:
                options = run.results[name].protocol.get("options")
                where = f"lingula evaluate {shlex.quote(str(run.path))} "
                commands.append(where + options if options else f"{where}… (options not recorded by the version that wrote it)")
                break
    return commands


def parameters_of(run: RunView) -> str:
    """Write trainable and total parameters, where the environment has them."""
    trainable = _number(run.environment, "trainable")
    total = _number(run.environment, "total")
    if trainable is None or total is None:
        return ""
    return f"{_thousands(trainable)} trainable of {_thousands(total)} ({100 * float(trainable) / max(float(total), 1):.0f} %)"


def _duration(run: RunView, optimisation: Mapping[str, Any]) -> str:
    done = max((int(entry["step"]) for entry in run.metrics if "step" in entry), default=None)
    planned = optimisation.get("steps")
    if done is None:
        return _thousands(planned) if planned else ""
    return f"{_thousands(done)} of {_thousands(planned)}" if planned and planned != done else _thousands(done)


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
    colour = figures.colours(list(results))
    own, classify = has_own_layout(task), task in CLASSIFICATION
    setting = any_result.settings[-1] if any_result.rows else ""
    curves = {name: calibration(result) for name, result in results.items()} if classify else {}
    several = len(any_result.protocol.get("findings", [])) > 1
    grid, parts = (None, None) if own else (metric_grid(results), subgroup_grid(results))
    return {
        "id": task,
        "anchor": figures.slug(task),
        "title": title_of(task),
        "thresholds": classify,
        "store": any_result.store,
        "split": any_result.split,
        "n": max((row.n for row in any_result.rows), default=0),
        "columns": [{"name": n, "colour": colour[n], "ceiling": r.task == "supervised" != task} for n, r in results.items()],
        "groups": _table_groups(task, results) if own else {},
        "grid": grid and _grid_table(grid, colour),
        "grid_subgroups": parts and parts.lines and _grid_table(parts, colour),
        "bars": _bars(task, results, setting, several),
        "bars_setting": setting_name(task, setting) if setting else "",
        "roc": figures.roc_curves(results) if classify and len(any_result.settings) == 1 else "",
        "spectrum": figures.singular_spectra(results) if task == "geometry" else "",
        "intervals": INTERVALS.get(task, "bootstrap over patients"),
        "calibration": figures.calibration_curves(task, curves),
        "calibration_errors": figures.calibration_errors(curves),
        "phantom": any(result.phantom for result in results.values()),
        "commands": evaluation_commands(task, runs),
        "subgroups": subgroup_rows(results, setting) if classify else [],
        "notes": notes_of(results),
        "protocol": protocol_rows(any_result),
        "pictures": picture_groups(task, runs),
    }


def _table_groups(task: str, results: Mapping[str, TaskResult]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for key in keys_for(task, results):
        found = [result.find(*key) for result in results.values()]
        groups.setdefault(setting_name(task, key[2]) if key[2] else "", []).append(_table_row(task, key, found))
    return groups


def _grid_table(grid: MetricGrid, colour: Mapping[str, str]) -> dict[str, Any]:
    """Return the table of a task that has no layout of its own here."""
    groups = {
        group: [
            {
                "name": each.name,
                "run": each.run,
                "colour": colour[each.run],
                "n": each.n,
                "cells": list(map(grid_cell, each.cells)),
            }
            for each in lines
        ]
        for group, lines in grid.groups.items()
    }
    return {"metrics": grid.metrics, "groups": groups, "several": len({line.run for line in grid.lines}) > 1}


def _bars(task: str, results: Mapping[str, TaskResult], setting: str, several: bool) -> str:
    """Draw AUROC per finding; of a task that has no layout here its first metric per label, where it has several labels."""
    if task in CLASSIFICATION:
        return figures.finding_bars(task, results, setting) if several else ""
    rows = [row for result in results.values() for row in result.rows if row.setting == setting]
    labels = {row.label for row in rows} - {"", MACRO}
    return "" if has_own_layout(task) or len(labels) < 2 else figures.finding_bars(task, results, setting, rows[0].metric)


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
    digits = 0 if key[0] == "median rank" else 3
    cells = []
    for row in found:
        value, _, rest = cell(row, times=task == "retrieve").partition(" [")
        interval, _, ratio = rest.partition("]")
        cells.append({"value": value, "interval": interval, "times": ratio.strip(), "best": row is not None and row is best})
    return {"name": row_name(key), "cells": cells, "chance": "–" if chance is None else f"{chance:.{digits}f}"}


def _best(metric: str, found: list[ResultRow | None]) -> ResultRow | None:
    """Return the best row of several; none stands out alone."""
    rows = [row for row in found if row is not None and row.value is not None]
    if len(rows) < 2:
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


def protocol_rows(result: TaskResult) -> list[tuple[str, str]]:
    """Return the task's protocol as name and text; prompts are written out."""
    rows = []
    for name, value in result.protocol.items():
        if name == "options":
            continue
        if name == "prompts" and isinstance(value, dict):
            rows += [(f"prompts: {f}", f"+ {' · '.join(p['positive'])}  − {' · '.join(p['negative'])}") for f, p in value.items()]
        elif value not in (None, [], ""):
            rows.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows


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
            "alt": f"Chest radiograph {sample.row_id}; labelled: {', '.join(sample.present) or 'no finding'}.",
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


def settings_of(run: RunView) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the complete configuration and environment, flattened, for the page's appendix."""
    groups = [(name, _flatten(run.config[name])) for name in SHOWN_SETTINGS if name in run.config]
    rest = {key: value for key, value in run.config.items() if key not in SHOWN_SETTINGS}
    groups += [("other", _flatten(rest))] if rest else []
    environment = {key: value for key, value in run.environment.items() if key != "data"}
    return [*groups, ("environment", _flatten(environment))] if environment else groups


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flatten(inner, f"{prefix}.{key}" if prefix else str(key))]
    return [(prefix or "value", ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def _group(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def _deep(values: Mapping[str, Any], name: str) -> Any:
    """Find a plain value by its key, at any depth."""
    if name in values and not isinstance(values[name], Mapping | list):
        return values[name]
    inner = (_deep(value, name) for value in values.values() if isinstance(value, Mapping))
    return next((value for value in inner if value is not None), None)


def _number(environment: Mapping[str, Any], name: str) -> float | None:
    value = _deep(_group(environment, "parameters"), name)
    return value if isinstance(value, int | float) else None


def _thousands(value: Any) -> str:
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int | float) else "–"
