"""Figures of the data page: how a store's images, texts and labels are distributed, split by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lingula.core.drawing import FAINT, INK, PALETTE, figure_svg, new_figure
from lingula.data.splits import SPLITS
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: dict[str, str] = dict(zip(SPLITS, PALETTE, strict=False))
MOST = 24
"""Bars or findings that one figure shows; the tables have all of them."""
BINS = 20
VOLUMES, HU_STEP = 16, 20
"""Volumes per split whose voxels are counted, and width of a bin in HU."""


def rows_by_split(store: StoreTable) -> dict[str, np.ndarray]:
    """Return the row numbers of each split that has any."""
    found = {split: store.rows(split) for split in SPLITS}
    return {split: rows for split, rows in found.items() if rows.size}


def group_bars(store: StoreTable, values: Sequence[str], name: str, title: str) -> str:
    """Draw the share of each split's images that has each value, most frequent first.

    Args:
        store: The images.
        values: One value per row.
        name: Makes the figure's ids unique on the page.
        title: What the values are.
    """
    order = [value for value, _ in Counter(values).most_common(MOST)]
    shares = {
        split: [100 * sum(values[row] == value for row in rows) / len(rows) for value in order]
        for split, rows in rows_by_split(store).items()
    }
    return figure_svg(_share_bars(order, shares, title, "% of the split's images"), name, f"{title}: {_told(order, shares)}.")


def section_bars(reports: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """Draw the share of each split's reports that has each section; a short bar is a section that is often missing."""
    counts = Counter(name for split in reports.values() for sections in split for name, text in sections.items() if text.strip())
    order = [name for name, _ in counts.most_common(MOST)]
    shares = {
        split: [100 * sum(bool(each.get(name, "").strip()) for each in found) / len(found) for name in order]
        for split, found in reports.items()
        if found
    }
    figure = _share_bars(order, shares, "Sections", "% of the split's reports")
    return figure_svg(figure, "sections", f"Reports with each section: {_told(order, shares)}.")


def prevalence_dots(store: StoreTable) -> str:
    """Draw the share of images labelled present among those labelled at all, per finding and split."""
    labels = store.labels(range(len(store)), store.findings)
    present, known = labels == 1, ~np.isnan(labels)
    overall = present.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    order = np.argsort(-overall, kind="stable")[:MOST]
    figure, (axis,) = new_figure(1, 1, (7.6, 0.9 + 0.24 * len(order)))
    parts = rows_by_split(store)
    for split, rows in parts.items():
        share = 100 * present[rows].sum(axis=0) / np.maximum(known[rows].sum(axis=0), 1)
        axis.plot(share[order], range(len(order)), "o", color=COLOURS[split], markersize=5, alpha=0.85)
    _name_rows(axis, [store.findings[number] for number in order])
    axis.set(xlabel="% labelled present, of the labelled images of the split", xlim=(0, None))
    _legend(figure, parts)
    most = ", ".join(f"{store.findings[number]} {overall[number]:.1%}" for number in order[:5])
    return figure_svg(figure, "prevalence", f"Prevalence per finding. Most frequent: {most}.")


def co_occurrence(store: StoreTable) -> str:
    """Draw how many of the images with one finding (row) have another (column), in per cent; "" with fewer than two findings."""
    present = store.labels(range(len(store)), store.findings) == 1
    order = [number for number in np.argsort(-present.sum(axis=0), kind="stable")[:MOST] if present[:, number].any()]
    if len(order) < 2:
        return ""
    from matplotlib.patches import Rectangle

    chosen = present[:, order].astype(np.int64)
    share = 100 * (chosen.T @ chosen) / chosen.sum(axis=0)[:, None]
    size = 1.9 + 0.36 * len(order)
    figure, (axis,) = new_figure(1, 1, (size + 0.6, size))
    words = {"ha": "center", "va": "center", "fontsize": 6.5, "color": INK}
    for row, column in np.ndindex(share.shape):
        if row == column:
            axis.text(column, row, f"{chosen[:, row].sum():,}", fontweight="bold", **words)
            axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, edgecolor=FAINT, facecolor="none", linewidth=0.8))
            continue
        depth = float(share[row, column]) / 110
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=PALETTE[0], alpha=depth, linewidth=0))
        if share[row, column] >= 0.5:
            axis.text(column, row, f"{share[row, column]:.0f}", **words)
    names = [store.findings[number] for number in order]
    axis.set_xticks(range(len(order)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(order)), names)
    axis.set(xlim=(-0.5, len(order) - 0.5), ylim=(len(order) - 0.5, -0.5))
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure_svg(figure, "together", f"Co-occurrence of {', '.join(names)}.")


def histogram(values: Mapping[str, np.ndarray], name: str, title: str, unit: str) -> str:
    """Draw the distribution of a number per split, the shares of each split summing to 100 %; "" where there is but one value.

    Bins of a wide range are whole numbers wide; the last one holds everything above the 99.5th percentile.

    Args:
        values: Split to its numbers; NaN: unknown.
        name: Makes the figure's ids unique on the page.
        title: What the number is.
        unit: Its unit, on the axis.
    """
    known = {split: numbers[~np.isnan(numbers)] for split, numbers in values.items()}
    known = {split: numbers for split, numbers in known.items() if numbers.size}
    everything = np.concatenate([np.zeros(0), *known.values()])
    if np.unique(everything).size < 2:
        return ""
    low, high = float(everything.min()), float(np.quantile(everything, 0.995))
    step = np.ceil((high - low) / BINS) if high - low > BINS else max((high - low) / BINS, 1e-3)
    edges = np.arange(low, high + step, step)
    figure, (axis,) = new_figure(1, 1, (3.7, 2.4))
    for split, numbers in known.items():
        counts, _ = np.histogram(np.minimum(numbers, edges[-1]), edges)
        axis.stairs(100 * counts / numbers.size, edges, color=COLOURS[split], linewidth=1.5)
        axis.axvline(float(np.median(numbers)), color=COLOURS[split], linewidth=0.9, linestyle=(0, (3, 3)))
    axis.set_title(title, loc="left", fontweight="bold")
    axis.set(xlabel=unit, ylabel="% of the split", ylim=(0, None))
    _legend(figure, known)
    medians = ", ".join(f"{split} {np.median(numbers):.3g}" for split, numbers in known.items())
    return figure_svg(figure, name, f"{title}: medians {medians} {unit}.")


def hounsfield_histogram(store: VolumeStore) -> str:
    """Draw how the voxels of some volumes of each split are distributed over Hounsfield units, on a logarithmic scale."""
    edges = np.arange(-1100, 2001, HU_STEP)
    figure, (axis,) = new_figure(1, 1, (7.6, 2.6))
    parts = rows_by_split(store)
    for split, rows in parts.items():
        chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), VOLUMES)).round().astype(int)]
        counts = sum(np.histogram(np.clip(store.volume(int(row)).voxels, edges[0], edges[-1]), edges)[0] for row in chosen)
        axis.stairs(100 * counts / np.sum(counts), edges, color=COLOURS[split], linewidth=1.4)
    axis.set(yscale="log", xlabel="HU", ylabel="% of the voxels")
    axis.set_title("Hounsfield units", loc="left", fontweight="bold")
    _legend(figure, parts)
    return figure_svg(figure, "hounsfield", f"Hounsfield units of up to {VOLUMES} volumes per split.")


def reason_bars(reasons: Mapping[str, int]) -> str:
    """Draw how many items were quarantined for each reason."""
    order = list(reasons)[:MOST]
    figure, (axis,) = new_figure(1, 1, (7.6, 0.7 + 0.26 * len(order)))
    axis.barh(range(len(order)), [reasons[reason] for reason in order], color=PALETTE[4], height=0.6)
    _name_rows(axis, order)
    axis.set_xlabel("items")
    return figure_svg(figure, "reasons", f"Quarantined: {', '.join(f'{reason} {reasons[reason]}' for reason in order)}.")


def _share_bars(order: Sequence[str], shares: Mapping[str, Sequence[float]], title: str, unit: str) -> Figure:
    figure, (axis,) = new_figure(1, 1, (3.7, 0.95 + 0.13 * len(order) * (1 + len(shares))))
    step = 0.8 / max(len(shares), 1)
    for number, (split, values) in enumerate(shares.items()):
        places = [place + (number - (len(shares) - 1) / 2) * step for place in range(len(order))]
        axis.barh(places, values, color=COLOURS[split], height=step * 0.88)
    _name_rows(axis, order)
    axis.set_title(title, loc="left", fontweight="bold")
    axis.set(xlabel=unit, xlim=(0, 100))
    _legend(figure, shares)
    return figure


def _name_rows(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def _legend(figure: Figure, splits: Mapping[str, object]) -> None:
    """Put one legend under the figure; a single split needs none."""
    from matplotlib.patches import Patch

    if len(splits) > 1:
        handles = [Patch(facecolor=COLOURS[split], edgecolor=FAINT, label=split) for split in splits]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, labelcolor=INK, fontsize=8.5, frameon=False)


def _told(order: Sequence[str], shares: Mapping[str, Sequence[float]]) -> str:
    return "; ".join(
        f"{split}: " + ", ".join(f"{name} {value:.0f} %" for name, value in zip(order, values, strict=True))
        for split, values in shares.items()
    )
