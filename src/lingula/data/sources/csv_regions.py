"""Boxes and masks that tables list per image."""

from __future__ import annotations

from collections import defaultdict
from typing import cast

from lingula.core.errors import UserError
from lingula.data.run_length import NO_MASK
from lingula.data.sources.tables import Row, Table
from lingula.data.study import PlaneBox, Region, Report, SpaceBox
from lingula.data.text.sentences import split_sentences

TO_BE_MEASURED = (0.0, 0.0, 0.0, 0.0)
"""Box of a region whose mask has not been read yet."""
RLE = "rle:"
"""Before run lengths that stand in the place of a mask's path."""


class RegionTables:
    """Regions by the path of their image.

    Args:
        boxes: Columns image, x1, y1, x2, y2 and phrase or label; kind and sentence where known. Of volumes x1, y1, z1, x2, y2
            and z2, or x0, y0, z0, x1, y1 and z1.
        masks: Columns image, mask or rle (run lengths; -1 or blank: nothing there), label or phrase; kind where known.
        volumes: Whether the images are volumes.

    Raises:
        UserError: A column is missing.
    """

    def __init__(self, boxes: Table | None, masks: Table | None, volumes: bool = False) -> None:
        self._corners = _corners(boxes, volumes)
        self._boxes = _by_image(boxes, self._corners) if boxes else {}
        self._masks = _by_image(masks, ("rle" if "rle" in masks.columns else "mask",)) if masks else {}

    def images(self) -> set[str]:
        """Return the paths of all images that have a region."""
        return {*self._boxes, *self._masks}

    def read(self, image: str, image_index: int, report: Report | None) -> list[Region]:
        """Return the regions of one image, boxes first."""
        sentences = split_sentences(report.text) if report and image in self._boxes else []
        regions = []
        for row in self._boxes.get(image, []):
            named = [sentence for sentence in split_sentences(row.get("sentence", "")) if sentence in sentences]
            regions.append(
                Region(
                    finding=_finding(row),
                    kind=row.get("kind", ""),
                    box=_box(row, image, self._corners),
                    phrase=row.get("phrase", ""),
                    sentence_index=sentences.index(named[0]) if named else None,
                    image_index=image_index,
                )
            )
        for row in self._masks.get(image, []):
            found, kind, mask = _finding(row), row.get("kind", ""), _mask(row)
            if mask is not None:
                regions.append(Region(finding=found, kind=kind, box=TO_BE_MEASURED, mask=mask, image_index=image_index))
        return regions


def _by_image(table: Table, required: tuple[str, ...]) -> dict[str, list[Row]]:
    for column in ("image", *required):
        table.require(column, "every region needs it")
    if not {"phrase", "label"} & set(table.columns):
        table.require("label", "it names the finding")
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        rows[row["image"]].append(row)
    return dict(rows)


def _mask(row: Row) -> str | None:
    """Return where a row's mask is, a path before run lengths; None where the run lengths say that there is nothing."""
    if row.get("mask") or "rle" not in row:
        return row["mask"]
    return None if row["rle"].strip() in NO_MASK else RLE + row["rle"]


def _finding(row: Row) -> str:
    return row.get("label") or row.get("phrase") or "unnamed"


def _corners(boxes: Table | None, volumes: bool) -> tuple[str, ...]:
    """Return the columns of a box's two corners."""
    if not volumes:
        return "x1", "y1", "x2", "y2"
    first, second = (0, 1) if boxes and "x0" in boxes.columns else (1, 2)
    return tuple(f"{axis}{end}" for end in (first, second) for axis in "xyz")


def _box(row: Row, image: str, corners: tuple[str, ...]) -> PlaneBox | SpaceBox:
    try:
        box = tuple(float(row[name]) for name in corners)
    except ValueError:
        cells, number = ", ".join(row[name] for name in corners), {4: "four", 6: "six"}[len(corners)]
        raise UserError(f"box of {image} is not {number} numbers: {cells}", "Mend the table of boxes.") from None
    return cast(PlaneBox | SpaceBox, box)
