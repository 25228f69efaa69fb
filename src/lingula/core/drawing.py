"""Figures of a page, as inline SVG that takes its ink from the page (light, dark, print)."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#010203", "#040506"
"""Placeholder colours, replaced by the page's own text and line colours."""
PALETTE = ("#2f6fb0", "#d1782f", "#3d9a6b", "#a25bb0", "#b8475a", "#7a7f35")
"""One colour per run or split, legible on white and on near-black."""


def figure_svg(figure: Figure, name: str, description: str) -> str:
    """Turn a figure into an inline SVG with an accessible description.

    Args:
        figure: The figure; it is closed.
        name: Makes the ids inside the SVG unique on the page.
        description: What a reader who does not see the figure should know.
    """
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace(FAINT, "var(--line)")
    text = re.sub(r'(id="|url\(#|xlink:href="#)', rf"\1{name}-", text)
    text = re.sub(r'font: ([^;"]*)', lambda match: f"font: {_page_font(match[1])}", text)
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    text = re.sub(r'<svg height="[^"]*"|<svg width="[^"]*"', "<svg", text, count=1)
    width = re.search(r'viewBox="0 0 ([0-9.]+) ', text)
    size = f' style="max-width:{float(width[1]) * 1.33:.0f}px"' if width else ""
    return re.sub(r"<svg[^>]*>", lambda match: _opening(match[0], label, size), text, count=1)


def _opening(tag: str, label: str, size: str) -> str:
    box = re.search(r'viewBox="[^"]*"', tag)
    return (
        f'<svg {box[0] if box else ""} role="img" aria-label="{label}"{size} xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )


def _page_font(font: str) -> str:
    """Keep weight and size, take the family from the page."""
    return re.sub(r"(\d(?:\.\d+)?px).*", r"\1 var(--sans)", font)


def new_figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """Make a figure in the page's style; axes come as a flat array."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    style: dict[Any, Any] = {
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "text.color": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.grid": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.6,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
    return figure, axes.ravel()


def slug(text: str) -> str:
    """Turn a name into one that an id may have."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "all"
