"""Figures of the report page, as inline SVG that takes its ink from the page (light, dark, print)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lingula.core.drawing import FAINT, INK, PALETTE, figure_svg, new_figure, slug
from lingula.evaluation.arrays import Array
from lingula.evaluation.calibration import Calibration
from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.run_view import RunView
from lingula.evaluation.scored import MACRO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "D", "^", "v", "P")
ROC_PANELS = 30
"""Findings that get ROC curves, at most."""
POINTS = 300
"""Most points of a curve; longer ones are averaged in blocks."""


@dataclass(frozen=True)
class Look:
    """How a run is drawn, everywhere on the page."""

    colour: str
    marker: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Give each run a colour and a marker; a seventh run has the first one's colour with another marker."""
    return {
        name: Look(PALETTE[place % len(PALETTE)], MARKERS[(place + place // len(PALETTE)) % len(MARKERS)])
        for place, name in enumerate(names)
    }


def curve_names(runs: Sequence[RunView]) -> list[tuple[str, str, str]]:
    """Return title, training name and validation name of the curves to draw: loss, learning rate, the rest of validation."""
    keys = dict.fromkeys(key for run in runs for entry in run.metrics for key in entry)
    curves = [("Loss", "loss", "validation/loss")]
    curves += [(k.removeprefix("loss/").capitalize() + " loss", k, f"validation/{k}") for k in keys if k.startswith("loss/")]
    if len(curves) == 2:
        curves.pop()
    curves += [("Learning rate", key, "") for key in keys if key in ("learning_rate", "lr")]
    used = {name for curve in curves for name in curve[1:]}
    extra = [key for key in keys if key.startswith("validation/") and key not in used and not key.startswith("validation/loss")]
    return [*curves, *[(key.removeprefix("validation/").replace("_", " "), "", key) for key in extra]][:6]


def series(run: RunView, name: str) -> tuple[Array, Array]:
    """Return steps and values of one logged number; a name `validation/x` also finds `x` of entries with split "val"."""
    found = []
    for entry in run.metrics:
        value = entry.get(name) if entry.get("split") != "val" else None
        if value is None and name.startswith("validation/") and entry.get("split") == "val":
            value = entry.get(name.removeprefix("validation/"))
        if isinstance(value, int | float) and "step" in entry:
            found.append((float(entry["step"]), float(value)))
    points = np.array(found or np.zeros((0, 2)))
    block = max(1, -(-len(points) // POINTS))
    whole = points[: len(points) // block * block].reshape(-1, block, 2).mean(axis=1) if block > 1 else points
    return whole[:, 0], whole[:, 1]


def training_curves(runs: Sequence[RunView], look: Mapping[str, Look]) -> str:
    """Draw loss (training thin, validation with dots), learning rate and the other validation numbers; "" without any."""
    runs = [run for run in runs if run.metrics]
    panels = [
        (title, train, val)
        for title, train, val in curve_names(runs)
        if any(len(series(r, n)[0]) for r in runs for n in (train, val) if n)
    ]
    if not panels:
        return ""
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = new_figure(lines, columns, (3.0 * columns + 0.3, 2.3 * lines))
    for axis, (title, train, val) in zip(axes, panels, strict=False):
        for run in runs:
            if train:
                axis.plot(*series(run, train), color=look[run.name].colour, alpha=0.55 if val else 1.0, linewidth=1.2)
            if val:
                axis.plot(*series(run, val), color=look[run.name].colour, marker="o", markersize=3)
        axis.set_title(title, loc="left", fontweight="bold", fontsize=9.5)
        axis.set_xlabel("step")
        axis.ticklabel_format(axis="y", scilimits=(-4, 5))
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    _legend(figure, {run.name: look[run.name] for run in runs}, lines=True)
    summary = "; ".join(f"{run.name}: loss {_ends(series(run, 'loss')[1])}" for run in runs)
    return figure_svg(figure, "curves", f"Training curves. {summary}.")


def _ends(values: Array) -> str:
    return f"from {values[0]:.3g} to {values[-1]:.3g}" if len(values) else "not logged"


def _legend(figure: Figure, shown: Mapping[str, Look], lines: bool = False, dots: bool = True) -> None:
    """Put one legend under the whole figure; a single run needs none."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker="" if lines else look.marker,
            linestyle="-" if lines else "none",
            label=name,
        )
        for name, look in shown.items()
    ]
    if lines and dots:
        handles.append(Line2D([], [], color=FAINT, marker="o", markersize=3, label="with dots: validation"))
    if len(handles) > 1:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), labelcolor=INK, fontsize=9, frameon=False)


def finding_bars(
    task: str, results: Mapping[str, TaskResult], setting: str, look: Mapping[str, Look], metric: str = "AUROC"
) -> str:
    """Draw a metric per finding as dots with 95 % intervals, one per run, best first; the dashed line is chance.

    Args:
        task: The task, for the description.
        results: Run to result.
        setting: Which setting of the task.
        look: Run to colour and marker.
        metric: The metric.
    """
    rows: dict[str, dict[str, ResultRow]] = {}
    for name, result in results.items():
        for row in result.rows:
            if (row.metric, row.setting, row.subgroup) == (metric, setting, "all") and row.value is not None:
                rows.setdefault(row.label, {})[name] = row
    labels = [label for label in rows if label != MACRO]
    if not labels:
        return ""
    labels.sort(key=lambda label: -max(float(row.value or 0) for row in rows[label].values()))
    if len(labels) > 1 and MACRO in rows:
        labels.append(MACRO)
    figure, (axis,) = new_figure(1, 1, (7.6, 0.9 + len(labels) * (0.14 + 0.075 * len(results))))
    step = 0.62 / max(len(results), 1)
    for place, label in enumerate(labels):
        for number, name in enumerate(results):
            if name not in rows[label]:
                continue
            row, own = rows[label][name], look[name]
            height = place + (number - (len(results) - 1) / 2) * step
            if row.low is not None and row.high is not None:
                ends = [row.low, row.high]
                axis.plot(ends, [height, height], color=own.colour, linewidth=1.6, alpha=0.6, solid_capstyle="round")
            axis.plot([row.value], [height], own.marker, color=own.colour, markersize=4.5)
    if metric == "AUROC":
        axis.axvline(0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    if labels[-1] == MACRO and len(labels) > 1:
        axis.axhline(len(labels) - 1.5, color=FAINT, linewidth=1)
    names = [_finding_label(label, rows[label]) for label in labels]
    axis.set_yticks(range(len(labels)), names)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    told = [metric, *(["95 % interval"] if any(result.has_intervals for result in results.values()) else [])]
    axis.set_xlabel(", ".join(told) + ("; dashed: chance" if metric == "AUROC" else ""))
    _legend(figure, {name: look[name] for name in results})
    best = "; ".join(f"{name} {row.value:.3f}" for name, row in rows.get(MACRO, rows[labels[0]]).items())
    return figure_svg(figure, f"bars-{slug(task)}-{slug(setting)}", f"{metric} per finding, {task} {setting}. Mean: {best}.")


def _finding_label(label: str, rows: Mapping[str, ResultRow]) -> str:
    if label == MACRO:
        return "mean of findings"
    positives = next(iter(rows.values())).positives
    return (label or "all") + ("" if positives is None else f" ({positives})")


def roc_curves(results: Mapping[str, TaskResult], look: Mapping[str, Look], most: int = ROC_PANELS) -> str:
    """Draw ROC curves as small multiples, one panel per finding, from the saved predictions; "" where there are none."""
    curves = {name: _roc_points(result) for name, result in results.items()}
    findings = sorted({finding for values in curves.values() for finding in values})[:most]
    if not findings:
        return ""
    columns = min(5, len(findings))
    lines = -(-len(findings) // columns)
    figure, axes = new_figure(lines, columns, (1.75 * columns + 0.4, 1.85 * lines + 0.3), sharex=True, sharey=True)
    for axis, finding in zip(axes, findings, strict=False):
        axis.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        for name, values in curves.items():
            if finding in values:
                axis.plot(*values[finding], color=look[name].colour, linewidth=1.3)
        axis.set_title(finding, loc="left", fontsize=8.5)
        axis.set_aspect("equal")
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axis.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    for axis in axes[len(findings) :]:
        axis.set_visible(False)
    _legend(figure, {name: look[name] for name in results}, lines=True, dots=False)
    task = next(iter(results.values())).task
    return figure_svg(figure, f"roc-{task}", f"ROC curves of {', '.join(findings)} for {', '.join(results)}.")


def _roc_points(result: TaskResult) -> dict[str, tuple[Array, Array]]:
    """Return false and true positive rates per finding, from the last setting's first unit."""
    table = result.predictions
    columns = {name: table.column(name).to_numpy() for name in ("setting", "unit", "finding", "target", "score")}
    keep = (columns["setting"] == columns["setting"][-1]) & (columns["unit"] == 0) & ~np.isnan(columns["target"].astype(float))
    points = {}
    for finding in dict.fromkeys(columns["finding"][keep]):
        chosen = keep & (columns["finding"] == finding)
        order = np.argsort(-columns["score"][chosen], kind="stable")
        positive, score = columns["target"][chosen][order] == 1, columns["score"][chosen][order]
        if not positive.any() or positive.all():
            continue
        last = np.append(score[1:] != score[:-1], True)
        true, false = np.cumsum(positive)[last] / positive.sum(), np.cumsum(~positive)[last] / (~positive).sum()
        thin = np.unique(np.linspace(0, len(true) - 1, min(len(true), POINTS)).astype(int))
        points[str(finding)] = np.append(0.0, false[thin]), np.append(0.0, true[thin])
    return points


def calibration_curves(task: str, curves: Mapping[str, Calibration | None], look: Mapping[str, Look]) -> str:
    """Draw observed share against predicted probability, with 95 % intervals; "" where no run has probabilities."""
    known = {name: found for name, found in curves.items() if found is not None}
    if not known:
        return ""
    figure, (axis,) = new_figure(1, 1, (5.6, 4.0))
    axis.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for name, found in known.items():
        ends = np.stack([found.observed - found.low, found.high - found.observed]).clip(min=0)
        own = look[name]
        axis.errorbar(found.predicted, found.observed, ends, color=own.colour, marker=own.marker, markersize=4, elinewidth=1)
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlabel("predicted probability")
    axis.set_ylabel("share labelled present")
    _legend(figure, {name: look[name] for name in known})
    return figure_svg(figure, f"calibration-{task}", f"Calibration. Expected error: {calibration_errors(curves)}.")


def calibration_errors(curves: Mapping[str, Calibration | None]) -> str:
    """Write the expected calibration error of each run with its interval, and which runs give no probabilities."""
    return "; ".join(
        f"{name} gives no probabilities" if found is None else "{} {:.3f} [{:.3f}, {:.3f}]".format(name, *found.error)
        for name, found in curves.items()
    )


def singular_spectra(results: Mapping[str, TaskResult], look: Mapping[str, Look]) -> str:
    """Draw the singular spectrum of each cloud of embeddings, one line per run, on a logarithmic scale."""
    spectra: dict[str, dict[str, Array]] = {}
    for run, result in results.items():
        table = result.predictions
        names, values = (table.column(name).to_numpy(zero_copy_only=False) for name in ("setting", "deviation"))
        for name in dict.fromkeys(names.tolist()):
            spectra.setdefault(name, {})[run] = values[names == name]
    figure, axes = new_figure(1, len(spectra), (2.7 * len(spectra) + 0.6, 2.6), sharey=True)
    for axis, (name, lines) in zip(axes, spectra.items(), strict=True):
        for run, values in lines.items():
            share = values / max(float(values.max(initial=0)), 1e-30)
            axis.plot(np.arange(1, len(share) + 1), np.maximum(share, 1e-6), color=look[run].colour)
        axis.set(title=name, xlabel="axis", yscale="log", ylim=(1e-4, 1.3))
    axes[0].set_ylabel("share of the largest")
    _legend(figure, {run: look[run] for run in results}, lines=True, dots=False)
    ranks = [f"{run}: {row.setting} {row.value:.0f}" for run, r in results.items() for row in r.rows if _is_rank(row)]
    return figure_svg(figure, "spectrum", f"Singular spectra. Effective ranks: {'; '.join(ranks)}.")


def _is_rank(row: ResultRow) -> bool:
    return row.metric == "effective rank" and row.value is not None
