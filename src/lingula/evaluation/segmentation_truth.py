"""The masks of a store as a segmenter learns and is scored on them: which findings, which images, which pixels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from lingula.core.errors import UserError, nearest
from lingula.core.types import RegionMask, RowNumbers
from lingula.data.augment import MaskStack
from lingula.data.store import Store
from lingula.data.store_schema import StoredRegion, StoredVolumeRegion
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.cohort import targets
from lingula.evaluation.config import EvaluateConfig


@dataclass(frozen=True)
class KnownPlaces:
    """For which images of a store it is known where findings lie.

    For a finding, an image is either *outlined* (all of its regions of that finding have pixels), *clear* (it has no region, and
    the labels, or `unlisted: absent`, say that the finding is not there), or unknown: labelled present, or not at all, without
    a region; or with a region that is only a box, where boxes do not count. What is unknown is neither learned nor scored.

    Args:
        findings: One map each, in this order.
        known: `rows findings`, for every row of the store.
        outlined: `rows findings`, where the finding is and its pixels are known.
    """

    findings: list[str]
    known: Bool[np.ndarray, "rows findings"]
    outlined: Bool[np.ndarray, "rows findings"]

    def usable(self, rows: RowNumbers) -> RowNumbers:
        """Return those of the rows that say something about at least one of the findings."""
        kept: RowNumbers = rows[self.known[rows].any(axis=1)]
        return kept


@dataclass(frozen=True)
class SegmentationTruth(KnownPlaces):
    """Where findings lie in radiographs.

    Args:
        store: The store.
        boxes: Whether a region without mask is its filled box.
    """

    store: Store
    boxes: bool

    def masks(self, row: int) -> MaskStack:
        """Return one mask per finding, `findings height width`, in stored pixels; regions of one finding are joined.

        Raises:
            UserError: A mask is not of the image's size, or a box is inverted or outside the image.
        """
        shape = self.store.pixels(row).shape
        stack = np.zeros((len(self.findings), *shape), dtype=bool)
        for number, region in enumerate(self.store.regions(row)):
            if region.finding in self.findings and (region.has_mask or self.boxes):
                stack[self.findings.index(region.finding)] |= _pixels_of(self.store, row, number, region, shape)
        return stack


def gather_masks(store: Store, train: RowNumbers, scored: RowNumbers, config: EvaluateConfig) -> SegmentationTruth:
    """Choose the findings of radiographs, and say for which images their place is known; see `known_places`.

    Raises:
        UserError: There is no region in the store, or none of a finding in one of the two sets.
    """
    places = known_places(store, train, scored, config)
    return SegmentationTruth(places.findings, places.known, places.outlined, store, config.segment.boxes)


def known_places(store: Store | VolumeStore, train: RowNumbers, scored: RowNumbers, config: EvaluateConfig) -> KnownPlaces:
    """Choose the findings, and say for which images their place is known.

    Args:
        store: The store.
        train: The rows to learn from.
        scored: The rows to score.
        config: `label` names the findings (none: those with pixels among both the training and the scored rows); `against` says
            which images are clear of a finding; `segment.boxes` and `segment.unlisted`.

    Raises:
        UserError: There is no region in the store, or none of a finding in one of the two sets.
    """
    regions = [_drawn(store.regions(row), config.segment.boxes) for row in range(len(store))]
    everything, learned, asked = (_count(regions, rows) for rows in (np.arange(len(store)), train, scored))
    if not everything:
        raise UserError(_nothing_drawn(store, config.segment.boxes), _remedy(store, config.segment.boxes))
    findings = list(config.label) or sorted(set(learned) & set(asked))
    for name in findings:
        if name not in everything:
            hint = nearest(name, everything) or f"Findings with pixels: {', '.join(sorted(everything))}."
            raise UserError(f"no mask of '{name}' in the store {store.name}", hint)
    _check_both(store, findings, learned, asked, config)
    return KnownPlaces(findings, *_known(store, findings, config))


def fill_box(box: tuple[float, float, float, float], height: int, width: int) -> RegionMask:
    """Return the pixels whose centres lie in a box, `height width`; at least the one in which the box's own centre lies.

    Args:
        box: x1, y1, x2, y2 in pixels.
        height: Rows of the image.
        width: Columns.

    Raises:
        ValueError: The box is inverted, not finite, or not inside the image.
    """
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise ValueError(f"box {tuple(round(float(v), 1) for v in box)} is inverted or outside the {height} × {width} pixels")
    mask = np.zeros((height, width), dtype=bool)
    mask[math.ceil(y1 - 0.5) : math.ceil(y2 - 0.5), math.ceil(x1 - 0.5) : math.ceil(x2 - 0.5)] = True
    mask[min(int((y1 + y2) / 2), height - 1), min(int((x1 + x2) / 2), width - 1)] = True
    return mask


def _pixels_of(store: Store, row: int, number: int, region: StoredRegion, shape: tuple[int, ...]) -> RegionMask:
    where = f"{region.finding} in image {store.column('row_id')[row]}"
    mask = store.mask(row, number)
    if mask is None:
        try:
            return fill_box(region.box, shape[0], shape[1])
        except ValueError as error:
            raise UserError(f"{where}: {error}", "Mend it in the source and prepare the store anew.") from None
    if mask.shape != shape:
        problem = f"{where}: a mask of {mask.shape[0]} × {mask.shape[1]} pixels for an image of {shape[0]} × {shape[1]}"
        raise UserError(problem, "Mend it in the source and prepare the store anew.")
    return mask


def _drawn(regions: Sequence[StoredRegion | StoredVolumeRegion], boxes: bool) -> set[str]:
    """The findings of which an image has pixels."""
    return {region.finding for region in regions if region.has_mask or boxes}


def _count(drawn: Sequence[set[str]], rows: RowNumbers) -> Counter[str]:
    return Counter(finding for row in rows for finding in drawn[row])


def _known(store: Store | VolumeStore, findings: list[str], config: EvaluateConfig) -> tuple[np.ndarray, np.ndarray]:
    """Where the truth is known, and where of that the finding is present, `rows findings` each."""
    rows = np.arange(len(store))
    labels = np.full((len(rows), len(findings)), np.nan)
    labelled = [place for place, name in enumerate(findings) if name in store.findings]
    if labelled:
        labels[:, labelled] = targets(store, rows, [findings[place] for place in labelled], config.against)
    clear = labels == 0
    if config.segment.unlisted == "absent":
        clear |= np.isnan(labels)
    outlined = np.zeros(clear.shape, dtype=bool)
    for row in rows:
        own = store.regions(int(row))
        for place, name in enumerate(findings):
            drawn = [region.has_mask or config.segment.boxes for region in own if region.finding == name]
            outlined[row, place] = bool(drawn) and all(drawn)
            clear[row, place] &= not drawn
    return outlined | clear, outlined


def _check_both(
    store: StoreTable, findings: list[str], learned: Counter[str], asked: Counter[str], config: EvaluateConfig
) -> None:
    what = "mask or box" if config.segment.boxes else "mask"
    scored = "scored" if config.folds else config.split
    remedy = "Name other findings with --label, loosen --where, or use --folds 5 over all rows."
    for name, counts in (("training", learned), (scored, asked)):
        lacking = [finding for finding in findings if not counts[finding]]
        if lacking or not counts:
            of = f" of {', '.join(lacking)}" if lacking else ""
            raise UserError(f"no {what}{of} among the {name} rows of the store {store.name}", remedy)
    if not findings:
        raise UserError(f"no finding has a {what} among both the training and the {scored} rows of {store.name}", remedy)


def _nothing_drawn(store: StoreTable, boxes: bool) -> str:
    return f"no region in the store {store.name}" if boxes else f"no mask in the store {store.name}"


def _remedy(store: Store | VolumeStore, boxes: bool) -> str:
    if not boxes and any(store.regions(row) for row in range(len(store))):
        return "It has boxes; --segment.boxes counts them as filled boxes."
    return "Prepare a store whose source gives masks (masks.csv beside the table, or the phantom)."
