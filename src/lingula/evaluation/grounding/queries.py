"""What is asked for: phrases and the regions that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lingula.core.errors import UserError, nearest
from lingula.core.types import RegionMask, RowNumbers
from lingula.data.store import Store
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.prompts import Prompts, prompts_about


@dataclass(frozen=True)
class Query:
    """One question to one image.

    Args:
        row: Row of the store.
        finding: What lies there.
        texts: The words that ask for it; several are an ensemble.
        regions: Numbers of the image's regions that they name; the truth is their union.
        stored: Whether the words are stored with the region; else they are the finding's prompts.
    """

    row: int
    finding: str
    texts: tuple[str, ...]
    regions: tuple[int, ...]
    stored: bool


@dataclass(frozen=True)
class Queries:
    """Queries with something to find, and how many regions were left out because they have no pixel."""

    asked: list[Query]
    empty: int

    @property
    def findings(self) -> list[str]:
        """The finding of each query."""
        return [query.finding for query in self.asked]


def gather_queries(store: Store, rows: RowNumbers, config: EvaluateConfig, prompts: dict[str, Prompts] | None = None) -> Queries:
    """Return the queries of some rows, in order; regions of one image that share finding and words are one query.

    A region without a pixel (an empty mask, a box without area) is left out.

    Args:
        store: The images.
        rows: Rows of the store.
        config: Findings, kinds of regions, and whether the report's phrases or the prompts ask.
        prompts: Prompts per finding; None: those that the configuration asks for.
    """
    prompts = region_prompts(store, config) if prompts is None else prompts
    found: dict[tuple[int, str, tuple[str, ...]], list[int]] = {}
    stored: set[tuple[int, str, tuple[str, ...]]] = set()
    empty = 0
    for row in rows:
        for number, region in enumerate(store.regions(int(row))):
            if region.finding not in prompts or (config.ground.kind and region.kind not in config.ground.kind):
                continue
            if not region_mask(store, int(row), number).any():
                empty += 1
                continue
            own = config.ground.words == "phrase" and bool(region.phrase.strip())
            texts = (region.phrase.strip(),) if own else prompts[region.finding].positive
            key = (int(row), region.finding, texts)
            found.setdefault(key, []).append(number)
            stored |= {key} if own else set()
    return Queries([Query(*key, tuple(numbers), key in stored) for key, numbers in found.items()], empty)


def region_prompts(store: Store, config: EvaluateConfig) -> dict[str, Prompts]:
    """Return the prompts of every finding that some region of the store shows, or of those that the configuration names.

    Raises:
        UserError: The store has no regions, no region shows a finding that was asked for, or the prompt file is malformed.
    """
    regions = store.column("regions")
    shown = sorted({region["finding"] for each in regions for region in each})
    if not shown:
        raise UserError(f"the store {store.name} has no regions to find", "Prepare it from a table with boxes or masks.")
    kinds = sorted({region["kind"] for each in regions for region in each if region["kind"]})
    for kind in config.ground.kind:
        if kind not in kinds:
            known = nearest(kind, kinds) or f"Its kinds: {', '.join(kinds) or 'none'}."
            raise UserError(f"no region of the store {store.name} is of the kind '{kind}'", known)
    for finding in config.label:
        if finding not in shown:
            known = nearest(finding, shown) or f"Its regions show: {', '.join(shown)}."
            raise UserError(f"no region of the store {store.name} shows '{finding}'", known)
    return prompts_about(store, list(config.label) or shown, config.prompts, sorted({*shown, *store.findings}))


def truth_of(store: Store, query: Query) -> RegionMask:
    """Return the pixels that a query should find, `size size`."""
    masks = [region_mask(store, query.row, number) for number in query.regions]
    union: RegionMask = np.logical_or.reduce(masks)
    return union


def region_mask(store: Store, row: int, number: int) -> RegionMask:
    """Return a region's mask, or its filled box where it has none."""
    mask = store.mask(row, number)
    return filled_box(store.regions(row)[number].box, store.size) if mask is None else mask


def filled_box(box: Sequence[float], size: int) -> RegionMask:
    """Return the pixels whose centre lies in a box; of a box between the centres the pixel that holds its middle.

    Args:
        box: x1, y1, x2, y2; whole numbers are edges of pixels. A box without area gives no pixel.
        size: Side of the square.
    """
    x1, y1, x2, y2 = box
    mask = np.zeros((size, size), bool)
    if x2 <= x1 or y2 <= y1:
        return mask
    centres = np.arange(size) + 0.5
    rows, columns = (_covered(centres, *ends) for ends in ((y1, y2), (x1, x2)))
    mask[np.ix_(rows, columns)] = True
    return mask


def _covered(centres: np.ndarray, low: float, high: float) -> np.ndarray:
    inside = (centres >= low) & (centres < high)
    if not inside.any() and 0 <= (low + high) / 2 < len(centres):
        inside[int((low + high) / 2)] = True
    return inside
