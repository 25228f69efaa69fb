"""One image beside what a model sees in it: attention, pseudo mask, a phrase's heat-map and the truth, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lingula.core.files import atomic_file
from lingula.core.types import Pixels, RegionMask
from lingula.data.lettering import font, wrap
from lingula.evaluation.arrays import HeatMap
from lingula.evaluation.overlays import TRUTH, Colour, Picture, draw_contour, draw_heatmap, draw_mask, grey_to_rgb

SIDE = 320
"""Longer side of a panel, pixels."""
GAP, LINE, CAPTION_LINES, NOTE_LINES, HEADING = 18, 19, 3, 2, 20
PAPER, INK, FAINT = (255, 255, 255), (20, 22, 26), (95, 100, 108)
OTHER: Colour = (240, 190, 60)
"""Regions that the phrase does not name."""


@dataclass(frozen=True)
class Asked:
    """One phrase and its answer.

    Args:
        phrase: The words.
        heat: Cosine of the phrase with every pixel, `height width`.
        truth: Pixels of the regions that it names; None where the truth is not known.
        others: Pixels of the image's other regions.
        truth_words: What the regions are, for the caption.
    """

    phrase: str
    heat: HeatMap
    truth: RegionMask | None = None
    others: RegionMask | None = None
    truth_words: str = ""


@dataclass(frozen=True)
class Sheet:
    """What is drawn.

    Args:
        title: What image, which model.
        pixels: The radiograph, `height width`.
        asked: One row of panels for each.
        attention: `height width`; None for a method without attention, whose panels are left out.
        mask: Its pseudo mask, 0 to 1.
        mask_words: How the mask was made.
        notes: Lines beneath.
    """

    title: str
    pixels: Pixels
    asked: Sequence[Asked]
    attention: HeatMap | None = None
    mask: HeatMap | None = None
    mask_words: str = ""
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class _Panel:
    picture: Picture
    heading: str
    words: str


def draw_sheet(sheet: Sheet, path: Path) -> Path:
    """Draw a sheet as a PNG, atomically, and return its path: one row per phrase, captions beneath each panel.

    Args:
        sheet: What is drawn; at least one phrase.
        path: The PNG.
    """
    rows = [_panels(sheet, asked) for asked in sheet.asked]
    height, width = rows[0][0].picture.shape[:2]
    cell = max(width, SIDE * 3 // 4)
    line = len(rows[0]) * (cell + GAP) + GAP
    notes = [wrapped for note in sheet.notes for wrapped in wrap(note, line - 2 * GAP, NOTE_LINES)]
    tall = HEADING + height + CAPTION_LINES * LINE + GAP
    canvas = Image.new("RGB", (line, GAP + LINE + GAP // 2 + len(rows) * tall + len(notes) * LINE + GAP), PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, GAP), wrap(sheet.title, line - 2 * GAP, 1)[0], font=font(16), fill=INK)
    top = GAP + LINE + GAP // 2
    for panels in rows:
        for number, panel in enumerate(panels):
            left = GAP + number * (cell + GAP)
            pen.text((left, top), panel.heading, font=font(), fill=FAINT)
            canvas.paste(Image.fromarray(panel.picture), (left, top + HEADING))
            for place, words in enumerate(wrap(panel.words, cell, CAPTION_LINES)):
                pen.text((left, top + HEADING + height + 4 + place * LINE), words, font=font(), fill=INK)
        top += tall
    for place, words in enumerate(notes):
        pen.text((GAP, top + place * LINE), words, font=font(), fill=FAINT)
    with atomic_file(path) as temporary:
        canvas.save(temporary, format="PNG", optimize=True)
    return path


def _panels(sheet: Sheet, asked: Asked) -> list[_Panel]:
    """The panels of one phrase, left to right."""
    shape = panel_shape(sheet.pixels.shape)
    image = enlarged_image(sheet.pixels, shape)
    panels = [_Panel(image, "radiograph", "")]
    if sheet.attention is not None:
        drawn = draw_heatmap(image, enlarged(sheet.attention, shape))
        panels.append(_Panel(drawn, "attention", "mean of the heads, whatever the phrase"))
    if sheet.mask is not None:
        inside = enlarged(sheet.mask, shape) >= 0.5
        panels.append(_Panel(draw_mask(image, inside), "pseudo mask", sheet.mask_words))
    heat = draw_heatmap(image, enlarged(asked.heat, shape))
    words = f"“{asked.phrase}” cosine {asked.heat.min():.2f} (clear) to {asked.heat.max():.2f} (yellow)"
    if asked.truth is not None:
        contour = enlarged(asked.truth.astype(np.float32), shape) >= 0.5
        heat = draw_contour(heat, contour)
        others = np.zeros_like(contour) if asked.others is None else enlarged(asked.others.astype(np.float32), shape) >= 0.5
        truth = draw_mask(draw_contour(image, others, OTHER), contour, TRUTH)
        panels += [_Panel(heat, "phrase", words), _Panel(truth, "ground truth", asked.truth_words)]
    else:
        panels.append(_Panel(heat, "phrase", words))
    return panels


def panel_shape(shape: Sequence[int], side: int = SIDE) -> tuple[int, int]:
    """Return height and width of a panel whose longer side is `side`."""
    height, width = (max(round(length * side / max(shape)), 1) for length in shape)
    return height, width


def enlarged_image(pixels: Pixels, shape: tuple[int, int]) -> Picture:
    """Return a radiograph in three channels at a panel's size."""
    image = Image.fromarray(grey_to_rgb(pixels)).resize(shape[::-1], Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(image)


def enlarged(values: HeatMap, shape: tuple[int, int]) -> HeatMap:
    """Return a map at a panel's size, bilinear."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR))


def strip(panels: Sequence[Picture], gap: int = 6) -> Picture:
    """Put panels of one height side by side on white."""
    between = np.full((panels[0].shape[0], gap, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (between, panel)][1:]
    return np.concatenate(parts, axis=1)
