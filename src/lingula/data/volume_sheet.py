"""A sheet of stored CT volumes: three planes through each region, in mm, to look at before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from lingula.core.files import atomic_file
from lingula.core.types import Pixels, VolumeMask
from lingula.data.contact_sheet import (
    ACCENT,
    BACKGROUND,
    FAINT,
    FILL_OPACITY,
    GAP,
    INK,
    LINE,
    Colour,
    checked_row,
    choose_rows,
    draw_legend,
    legend_rows,
    region_colours,
)
from lingula.data.lettering import font, wrap
from lingula.data.phi_text import mask_phi
from lingula.data.store_schema import StoredVolumeRegion
from lingula.data.study import Split
from lingula.data.volume_grid import orient
from lingula.data.volume_reader import Volume
from lingula.data.volume_store import VolumeStore

SIDE = 300
"""Pixels of the longest side that a plane may have."""
PLANES: dict[str, tuple[int, int, int]] = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}
"""Of a volume with axes to the right, front and head: the axis a plane is cut across, and those along its columns and rows."""
MOST_REGIONS = 3
"""Regions of a volume that get planes of their own, the largest first."""
BAR = 50.0
"""Length of the scale bar, mm."""
TEXT_LINES = 4


@dataclass(frozen=True)
class Window:
    """Which Hounsfield units are black and white.

    Args:
        level: HU shown as mid-grey.
        width: HU from black to white.
    """

    level: float = -300.0
    width: float = 1500.0

    def grey(self, hounsfield: np.ndarray) -> np.ndarray:
        """Return grey values, uint8."""
        shares = (hounsfield.astype(np.float32) - (self.level - self.width / 2)) / self.width
        grey: np.ndarray = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
        return grey


def coronal_plane(volume: Volume, window: Window | None = None) -> Pixels:
    """Return the plane in the middle, seen from the front, head up, with square pixels, uint8."""
    turned = orient(volume, "RAS")
    grey = (window or Window()).grey(lay_plane(turned.voxels, PLANES["coronal"][0], turned.voxels.shape[1] // 2))
    x, _, z = turned.spacing.tolist()
    height, width = grey.shape
    least = min(x, z)
    shown = Image.fromarray(grey).resize((round(width * x / least), round(height * z / least)), Image.Resampling.BILINEAR)
    return np.asarray(shown)


@dataclass(frozen=True)
class _Shown:
    """A volume in RAS with its regions, as it is drawn."""

    hounsfield: np.ndarray
    spacing: np.ndarray
    regions: list[StoredVolumeRegion]
    masks: list[VolumeMask | None]
    caption: str
    text: list[str]

    def scale(self) -> float:
        """Pixels per mm, the same for all three planes."""
        return SIDE / float((np.array(self.hounsfield.shape) * self.spacing).max())


def draw_volume_sheet(
    store: VolumeStore,
    path: Path,
    rows: Sequence[int] | None = None,
    split: Split | None = None,
    finding: str | None = None,
    with_text: bool | None = None,
    count: int = 4,
    window: Window | None = None,
    words: bool = True,
) -> Path:
    """Draw volumes with mask outlines, region boxes and text as one PNG, and return its path.

    Each volume has a line of axial, coronal and sagittal planes through the centre of each of its largest regions, or through its
    own centre where it has none. The patient's right is on the left; the front is up in axial, on the left in sagittal planes.

    Args:
        store: Where the volumes are.
        path: The PNG to write; an old one is replaced.
        rows: Which volumes; None: `count` of those that fit, evenly spaced over the store.
        split: Only volumes of this split.
        finding: Only volumes labelled with this finding, or with a region of it.
        with_text: Only volumes with text, or only those without.
        count: How many volumes at most.
        window: Which Hounsfield units are black and white.
        words: Write the text below each volume, with what looks like a patient's name or number masked.

    Raises:
        UserError: No volume fits, or a finding or row is not in the store.
    """
    chosen = choose_rows(store, split, finding, with_text, count) if rows is None else [checked_row(store, row) for row in rows]
    colours, window = region_colours(store, chosen), window or Window()
    blocks = [_draw_volume(_shown(store, row, words), colours, window) for row in chosen]
    width = max(block.width for block in blocks) + 2 * GAP
    legend = legend_rows(colours, width - 2 * GAP)
    height = sum(block.height + GAP for block in blocks) + LINE * (1 + len(legend)) + 2 * GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    top = GAP
    for block in blocks:
        sheet.paste(block, (GAP, top))
        top += block.height + GAP
    draw = ImageDraw.Draw(sheet)
    said = f"{store.name}: window level {window.level:g} HU, width {window.width:g} HU; bar {BAR:g} mm"
    draw_legend(draw, legend, colours, top)
    draw.text((GAP, top + LINE * len(legend) + GAP // 2), said, font=font(), fill=FAINT)
    with atomic_file(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)
    return path


def _shown(store: VolumeStore, row: int, words: bool) -> _Shown:
    """Read a volume and its regions, with axes to the right, front and head whatever the store's are."""
    axes = axes_to_ras(store)
    regions = [_turned(region, axes) for region in store.regions(row)]
    masks = [None if (mask := store.mask(row, number)) is None else mask.transpose(axes) for number in range(len(regions))]
    spacing = np.array(store.spacing(row))[list(axes)]
    hounsfield = store.volume(row).voxels.transpose(axes)
    sides = " x ".join(map(str, hounsfield.shape))
    voxel = " x ".join(f"{side:.3g}" for side in spacing)
    caption = f"{row} · {store.column('split')[row]} · {sides} voxels of {voxel} mm"
    text = wrap(" ".join(mask_phi(store.text(row)).split()), 3 * SIDE, TEXT_LINES) if words else []
    return _Shown(hounsfield, spacing, regions, masks, caption, text)


def axes_to_ras(store: VolumeStore) -> tuple[int, int, int]:
    """Return which axes of a store's volumes run to the right, to the front and to the head."""
    return {"RAS": (0, 1, 2), "SAR": (2, 1, 0)}[store.storing.orientation]


def _turned(region: StoredVolumeRegion, axes: tuple[int, int, int]) -> StoredVolumeRegion:
    """Give a region's box the order of other axes."""
    x1, y1, z1, x2, y2, z2 = (region.box[3 * end + axis] for end in (0, 1) for axis in axes)
    return StoredVolumeRegion(region.finding, (x1, y1, z1, x2, y2, z2), region.has_mask, region.kind)


def _draw_volume(shown: _Shown, colours: dict[str, Colour], window: Window) -> Image.Image:
    """Draw one line of planes per region, with caption and text below."""
    centres = _centres(shown)
    lines = [[_draw_plane(shown, name, centre, colours, window) for name in PLANES] for _, centre in centres]
    width = max(sum(plane.width + GAP for plane in line) for line in lines)
    height = sum(max(plane.height for plane in line) + LINE + 6 for line in lines) + LINE * (1 + len(shown.text)) + 6
    block = Image.new("RGB", (max(width, 3 * SIDE), height), BACKGROUND)
    draw, top = ImageDraw.Draw(block), 0
    for (name, centre), line in zip(centres, lines, strict=True):
        left = 0
        for plane in line:
            block.paste(plane, (left, top))
            left += plane.width + GAP
        top += max(plane.height for plane in line) + 3
        where = ", ".join(f"{each:.0f}" for each in (np.array(centre) + 0.5) * shown.spacing)
        draw.text((0, top), f"{name}, cut at {where} mm from the corner", font=font(), fill=colours.get(name, ACCENT))
        top += LINE + 3
    for line_, colour in [(shown.caption, FAINT), *((text, INK) for text in shown.text)]:
        draw.text((0, top), line_, font=font(), fill=colour)
        top += LINE
    return block


def _centres(shown: _Shown) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the names and centre voxels of the largest regions, or the volume's own."""
    boxes = {number: np.array(region.box).reshape(2, 3) for number, region in enumerate(shown.regions)}
    largest = sorted(boxes, key=lambda number: -float(np.prod(boxes[number][1] - boxes[number][0])))[:MOST_REGIONS]
    if not largest:
        x, y, z = (side // 2 for side in shown.hounsfield.shape)
        return [("centre of the volume", (x, y, z))]
    return [(shown.regions[number].finding, _centre(boxes[number], shown.masks[number])) for number in largest]


def _centre(box: np.ndarray, mask: VolumeMask | None) -> tuple[int, int, int]:
    """Return the middle voxel of a box, or the one of a mask that is nearest to it: the middle of two lungs lies in neither."""
    middle = box.mean(axis=0) - 0.5
    if mask is not None:
        inside = np.argwhere(mask)
        middle = inside[np.abs(inside - middle).sum(axis=1).argmin()]
    x, y, z = (int(each) for each in np.floor(middle))
    return x, y, z


def _draw_plane(
    shown: _Shown, name: str, centre: tuple[int, int, int], colours: dict[str, Colour], window: Window
) -> Image.Image:
    """Draw one plane with what it cuts: mask outlines, boxes of regions without mask; a scale bar; R or A for what is left."""
    across, columns, rows = PLANES[name]
    size = tuple(max(1, round(shown.hounsfield.shape[a] * shown.spacing[a] * shown.scale())) for a in (columns, rows))
    grey = lay_plane(window.grey(shown.hounsfield), across, centre[across])
    image = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    for region, mask in zip(shown.regions, shown.masks, strict=True):
        colour = colours[region.finding]
        if mask is not None:
            image = _draw_mask(image, lay_plane(mask, across, centre[across]), colour, region.kind)
        elif region.box[across] <= centre[across] + 0.5 <= region.box[3 + across]:
            _draw_box(image, shown, region, (columns, rows), colour)
    draw = ImageDraw.Draw(image)
    length = BAR * shown.scale()
    draw.line((8, image.height - 9, 8 + length, image.height - 9), fill=INK, width=2)
    for place, word in (((8, 4), name), ((8, image.height // 2 - LINE // 2), "A" if name == "sagittal" else "R")):
        draw.text(place, word, font=font(), fill=INK, stroke_width=2, stroke_fill=BACKGROUND)
    return image


def lay_plane(values: np.ndarray, across: int, index: int) -> np.ndarray:
    """Cut a volume in RAS across an axis and lay it as radiologists do: right and front on the left, front or head up."""
    plane = np.take(values, index, axis=across).T
    return np.ascontiguousarray(plane[::-1, ::-1])


def _draw_mask(image: Image.Image, plane: np.ndarray, colour: Colour, kind: str) -> Image.Image:
    """Tint what is inside faintly (anatomy not at all) and draw its outline."""
    if not plane.any():
        return image
    smooth = Image.fromarray(plane.astype(np.uint8) * 255).resize(image.size, Image.Resampling.BILINEAR)
    inside = smooth.point(lambda value: 255 if value >= 128 else 0)
    outline = ImageChops.subtract(inside.filter(ImageFilter.MaxFilter(3)), inside)
    paint = Image.new("RGB", image.size, colour)
    tinted = Image.composite(Image.blend(image, paint, 0.0 if kind == "anatomy" else FILL_OPACITY), image, inside)
    return Image.composite(paint, tinted, outline)


def _draw_box(image: Image.Image, shown: _Shown, region: StoredVolumeRegion, axes: tuple[int, int], colour: Colour) -> None:
    """Draw the outline of a box; both axes of a plane are mirrored."""
    edges = []
    for axis, pixels in zip(axes, image.size, strict=True):
        side = shown.hounsfield.shape[axis]
        edges.append([(side - region.box[end + axis]) / side * pixels for end in (3, 0)])
    (left, right), (top, bottom) = edges
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, min(right, image.width - 1), min(bottom, image.height - 1)), outline=colour, width=2)
