"""One figure of an experiment: rows of panels for each group of arms, a dot per seed, a bar at their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import read

MOST = 6
"""Panels side by side; where there are more, each group has several rows of equal length."""
COLOURS = {True: "#c1440e", False: "#3b5b92"}
"""Of the arms that the experiment is about, and of the others."""


def draw(
    results: Path, figure: Path, groups: Mapping[str, Mapping[str, str]], panels: Mapping[str, str], title: str, marked: str
) -> None:
    """Draw the finished cells of an experiment; groups without any are left out, and panels that compare no two arms of a group.

    Args:
        results: CSV file of the cells.
        figure: PNG to write.
        groups: Title of a group, to its arms and how they are called in the figure.
        panels: Quantity to how it is called.
        title: Title of the figure.
        marked: Arms with this in their name have a colour of their own.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    known: dict[str, set[str]] = {}
    for cell, numbers in read(results).items():
        known.setdefault(cell.arm, set()).update(number.quantity for number in numbers if number.value is not None)
    shown = {name: {arm: label for arm, label in arms.items() if arm in known} for name, arms in groups.items()}
    shown = {name: arms for name, arms in shown.items() if arms}
    count = -(-len(panels) // MOST)
    columns = -(-len(panels) // count)
    rows = []
    for group, arms in shown.items():
        names = [name for name in panels if sum(name in known[arm] for arm in arms) >= min(2, len(arms))]
        rows += [(group, names[start : start + columns]) for start in range(0, len(names), columns)]
    heights = [len(shown[group]) + 2.0 for group, _ in rows]
    size = (2.5 * columns, 0.27 * sum(heights) + 0.4)
    canvas, grid = pyplot.subplots(len(rows), columns, figsize=size, height_ratios=heights, squeeze=False, layout="constrained")
    for axes, (group, quantities) in zip(grid, rows, strict=True):
        for axis in axes[len(quantities) :]:
            axis.set_axis_off()
        for axis, quantity in zip(axes, quantities, strict=False):
            _draw_panel(axis, results, list(shown[group]), quantity, marked)
            axis.set_title(panels[quantity], fontsize=9)
        axes[0].set_yticks(range(len(shown[group])), list(shown[group].values()), fontsize=8)
        axes[0].set_ylabel(group, fontsize=9)
    canvas.suptitle(title, fontsize=10)
    canvas.savefig(figure, dpi=110)
    pyplot.close(canvas)


def _draw_panel(axis: Any, path: Path, arms: Sequence[str], quantity: str, marked: str) -> None:
    results = read(path)
    for place, arm in enumerate(arms):
        found = [n.value for cell, numbers in results.items() if cell.arm == arm for n in numbers if n.quantity == quantity]
        known = [value for value in found if value is not None]
        colour = COLOURS[marked in arm]
        axis.plot(known, [place] * len(known), "o", color=colour, markersize=4, alpha=0.7)
        if known:
            axis.plot(sum(known) / len(known), place, "|", color=colour, markersize=13, markeredgewidth=1.6)
    axis.set_ylim(len(arms) - 0.4, -0.6)
    axis.set_yticks([])
    axis.locator_params(axis="x", nbins=4)
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", color="0.9")
    axis.spines[["top", "right", "left"]].set_visible(False)
