"""One figure of an experiment: a row of panels per group of arms, a dot per seed, a bar at their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import read

COLOURS = {True: "#c1440e", False: "#3b5b92"}
"""Of the arms that the experiment is about, and of the others."""


def draw(
    results: Path, figure: Path, groups: Mapping[str, Mapping[str, str]], panels: Mapping[str, str], title: str, marked: str
) -> None:
    """Draw the finished cells of an experiment; groups without any are left out.

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

    done = {cell.arm for cell in read(results)}
    shown = {name: {arm: label for arm, label in arms.items() if arm in done} for name, arms in groups.items()}
    shown = {name: arms for name, arms in shown.items() if arms}
    heights = [len(arms) + 2.0 for arms in shown.values()]
    size = (2.5 * len(panels), 0.27 * sum(heights) + 0.4)
    canvas, grid = pyplot.subplots(
        len(shown), len(panels), figsize=size, height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axes, (name, arms) in zip(grid, shown.items(), strict=True):
        for axis, (quantity, label) in zip(axes, panels.items(), strict=True):
            _draw_panel(axis, results, list(arms), quantity, marked)
            axis.set_title(label, fontsize=9)
        axes[0].set_yticks(range(len(arms)), list(arms.values()), fontsize=8)
        axes[0].set_ylabel(name, fontsize=9)
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
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", color="0.9")
    axis.spines[["top", "right", "left"]].set_visible(False)
