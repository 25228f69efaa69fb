"""A sheet of stored images with their regions, labels and text, to look at before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from lingula.core.errors import UserError, nearest
from lingula.core.files import atomic_file
from lingula.core.types import RegionMask
from lingula.data.lettering import font, wrap
from lingula.data.phi_text import mask_phi
from lingula.data.readers import to_depth
from lingula.data.store import Store
from lingula.data.store_schema import StoredRegion
from lingula.data.store_table import StoreTable
from lingula.data.study import Split
from lingula.data.volume_store import VolumeStore

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 190, 140),
    (240, 228, 66),
    (225, 110, 175),
    (235, 95, 45),
    (150, 140, 240),
    (160, 215, 90),
    (120, 215, 215),
    (250, 170, 150),
    (205, 165, 115),
    (200, 200, 210),
)
BACKGROUND, INK, FAINT, ACCENT = (18, 20, 23), (232, 234, 237), (150, 155, 162), (255, 205, 120)
CELL, GAP, LINE = 320, 22, 19
TEXT_LINES, LABEL_LINES = 7, 2
FILL_OPACITY = 0.2


@dataclass(frozen=True)
class _Lines:
    """The words beneath one image."""

    caption: str
    labels: list[str]
    text: list[str]

    @property
    def height(self) -> int:
        return LINE * (1 + len(self.labels) + len(self.text)) + 8


def draw_contact_sheet(
    store: Store,
    path: Path,
    rows: Sequence[int] | None = None,
    split: Split | None = None,
    finding: str | None = None,
    with_text: bool | None = None,
    columns: int = 4,
    count: int = 12,
    words: bool = True,
) -> Path:
    """Draw images with region boxes, mask outlines, labels and text as one PNG, and return its path.

    Args:
        store: Where the images are.
        path: The PNG to write; an old one is replaced.
        rows: Which images; None: `count` of those that fit, evenly spaced over the store.
        split: Only images of this split.
        finding: Only images labelled with this finding, or with a region of it.
        with_text: Only images with text, or only those without.
        columns: Images side by side.
        count: How many images at most.
        words: Write the text below each image.

    Raises:
        UserError: No image fits, or a finding or row is not in the store.
    """
    chosen = choose_rows(store, split, finding, with_text, count) if rows is None else [checked_row(store, row) for row in rows]
    columns = max(1, min(columns, len(chosen)))
    colours = region_colours(store, chosen)
    lines = [_lines(store, row, words) for row in chosen]
    grid = [range(first, min(first + columns, len(chosen))) for first in range(0, len(chosen), columns)]
    heights = [CELL + max(lines[number].height for number in numbers) + GAP for numbers in grid]
    width = GAP + columns * (CELL + GAP)
    legend = legend_rows(colours, width - 2 * GAP)
    sheet = Image.new("RGB", (width, GAP + sum(heights) + LINE * len(legend) + (GAP if legend else 0)), BACKGROUND)
    top = GAP
    for numbers, height in zip(grid, heights, strict=True):
        for column, number in enumerate(numbers):
            left = GAP + column * (CELL + GAP)
            sheet.paste(_draw_image(store, chosen[number], colours), (left, top))
            _write_lines(ImageDraw.Draw(sheet), lines[number], left, top + CELL + 6)
        top += height
    draw_legend(ImageDraw.Draw(sheet), legend, colours, top)
    with atomic_file(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)
    return path


def choose_rows(
    store: Store | VolumeStore, split: Split | None, finding: str | None, with_text: bool | None, count: int
) -> list[int]:
    """Return rows that fit, evenly spaced.

    Raises:
        UserError: None fits, or the store does not know the finding.
    """
    fitting = store.rows(split, with_text=with_text)
    if finding is not None:
        fitting = fitting[_shows(store, finding)[fitting]]
    if not fitting.size:
        wanted = [
            split or "",
            f"with '{finding}'" if finding else "",
            {None: "", True: "with text", False: "without text"}[with_text],
        ]
        raise UserError(f"no image of {store.path} fits: {' '.join(filter(None, wanted))}", "See lingula data describe.")
    places = np.linspace(0, len(fitting) - 1, min(count, len(fitting))).round().astype(int)
    return [int(row) for row in fitting[places]]


def _shows(store: StoreTable, finding: str) -> np.ndarray:
    """Return for every row whether it is labelled with a finding or has a region of it."""
    regions = [{region["finding"] for region in each} for each in store.column("regions")]
    known = sorted({*store.findings, *set().union(*regions)})
    if finding not in known:
        raise UserError(
            f"store {store.path} has no finding '{finding}'", nearest(finding, known) or f"It has {', '.join(known)}."
        )
    shown = np.array([finding in names for names in regions])
    if finding in store.findings:
        shown |= store.labels(range(len(store)), [finding])[:, 0] == 1
    return shown


def checked_row(store: StoreTable, row: int) -> int:
    """Return the row's number.

    Raises:
        UserError: There is no such row.
    """
    if not 0 <= row < len(store):
        raise UserError(f"store {store.path} has no row {row}", f"Rows are numbered from 0 to {len(store) - 1}.")
    return row


def region_colours(store: Store | VolumeStore, rows: Sequence[int]) -> dict[str, Colour]:
    """Give every finding with a region a colour, the most frequent first."""
    names = Counter(region.finding for row in rows for region in store.regions(row))
    ordered = [name for name, _ in sorted(names.items(), key=lambda item: (-item[1], item[0]))]
    return {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(ordered)}


def _draw_image(store: Store, row: int, colours: dict[str, Colour]) -> Image.Image:
    """Draw one image with its regions; where a finding has masks, its boxes are left out."""
    pixels = Image.fromarray(to_depth(np.asarray(store.pixels(row)), 8))
    image = pixels.resize((CELL, CELL), Image.Resampling.LANCZOS).convert("RGB")
    regions = store.regions(row)
    masked = {region.finding for region in regions if region.has_mask}
    for number, region in enumerate(regions):
        mask = store.mask(row, number)
        if mask is not None:
            image = _draw_mask(image, mask, colours[region.finding], 0.0 if region.kind == "anatomy" else FILL_OPACITY)
    for region in regions:
        if region.finding not in masked:
            _draw_box(image, region, colours[region.finding], CELL / store.size)
    return image


def _draw_mask(image: Image.Image, mask: RegionMask, colour: Colour, opacity: float) -> Image.Image:
    """Tint a mask faintly (anatomy not at all) and draw its outline."""
    smooth = Image.fromarray(mask.astype(np.uint8) * 255).resize((CELL, CELL), Image.Resampling.BILINEAR)
    inside = smooth.point(lambda value: 255 if value >= 128 else 0)
    outline = ImageChops.subtract(inside.filter(ImageFilter.MaxFilter(3)), inside)
    paint = Image.new("RGB", image.size, colour)
    tinted = Image.composite(Image.blend(image, paint, opacity), image, inside)
    return Image.composite(paint, tinted, outline)


def _draw_box(image: Image.Image, region: StoredRegion, colour: Colour, zoom: float) -> None:
    x1, y1, x2, y2 = (min(value * zoom, CELL - 1) for value in region.box)
    ImageDraw.Draw(image).rectangle((x1, y1, x2, y2), outline=colour, width=2)


def _lines(store: Store, row: int, words: bool) -> _Lines:
    """Lay out caption, labels and, where asked for, text of one image; what looks like a patient's name or number is masked."""
    extra = store.column("extra")[row]
    age = extra.get("age", "")
    person = extra.get("sex", "") + (f" {age} y" if age else "")
    parts = (f"{row}", store.column("split")[row], store.column("projection")[row], person)
    labels = store.column("labels")[row]
    present = [name for name, value in labels.items() if value == 1] + [
        f"{name}?" for name, value in labels.items() if value == -1
    ]
    nothing = ("nothing labelled present",) if labels else ()
    return _Lines(
        caption=" · ".join(part.strip() for part in parts if part.strip() and part != "unknown"),
        labels=wrap(", ".join(present) or "".join(nothing), CELL, LABEL_LINES),
        text=wrap(" ".join(mask_phi(store.text(row)).split()), CELL, TEXT_LINES) if words else [],
    )


def _write_lines(draw: ImageDraw.ImageDraw, lines: _Lines, left: int, top: int) -> None:
    coloured = [(lines.caption, FAINT), *((line, ACCENT) for line in lines.labels), *((line, INK) for line in lines.text)]
    for number, (line, colour) in enumerate(coloured):
        draw.text((left, top + number * LINE), line, font=font(), fill=colour)


def legend_rows(colours: dict[str, Colour], width: int) -> list[list[str]]:
    """Distribute the names of the legend over lines."""
    rows: list[list[str]] = []
    used = width + 1.0
    for name in colours:
        needed = font().getlength(name) + 44
        if used + needed > width:
            rows.append([])
            used = 0.0
        rows[-1].append(name)
        used += needed
    return rows


def draw_legend(draw: ImageDraw.ImageDraw, rows: list[list[str]], colours: dict[str, Colour], top: int) -> None:
    """Write the names of the findings beside their colours."""
    for number, names in enumerate(rows):
        left = float(GAP)
        for name in names:
            y = top + number * LINE
            draw.rectangle((left, y + 3, left + 13, y + 14), outline=colours[name], width=2)
            draw.text((left + 20, y), name, font=font(), fill=INK)
            left += font().getlength(name) + 44
