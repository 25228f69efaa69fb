"""The boxes of a store as a detector learns and is scored on them: which findings, which classes, which images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lingula.core.errors import UserError, nearest
from lingula.core.types import RowNumbers
from lingula.data.augment_boxes import clip_boxes
from lingula.data.store import Store
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.detection import TrueBoxes

ANATOMY = "anatomy"
ANY = "any finding"
"""Name of the only class where a box is a box."""


@dataclass(frozen=True)
class DetectionTruth:
    """The boxes of some rows.

    Args:
        findings: Whose boxes count.
        classes: Names of the classes.
        of: Row to its boxes, in stored pixels; only rows whose boxes are known.
        unknown: Rows left out: labelled with one of the findings, but without any box.
    """

    findings: list[str]
    classes: list[str]
    of: Mapping[int, TrueBoxes]
    unknown: list[int]

    def known(self, rows: RowNumbers) -> RowNumbers:
        """Return those of the rows whose boxes are known."""
        kept: RowNumbers = rows[np.array([int(row) in self.of for row in rows], bool)]
        return kept

    def boxed(self, rows: RowNumbers) -> RowNumbers:
        """Return those of the rows that have a box."""
        kept: RowNumbers = rows[np.array([len(self.of[int(row)].boxes) > 0 for row in rows], bool)]
        return kept


def gather_boxes(store: Store, rows: RowNumbers, config: EvaluateConfig) -> DetectionTruth:
    """Collect the boxes of rows, clipped to the image.

    Without --label every finding counts that has a box, but no anatomy (lungs, heart). An image without a box shows that there
    is nothing to find, unless its labels say that one of the findings is present: then nobody has drawn its boxes, and it is
    left out. With `classes: one`, boxes of several findings at one place stay several boxes.

    Args:
        store: The store.
        rows: The rows.
        config: `label` names the findings; `detect.classes` says whether they are told apart.

    Raises:
        UserError: No row has such a box, a name is unknown, or a box is inverted, not finite or outside its image.
    """
    regions = {int(row): store.regions(int(row)) for row in rows}
    counts = Counter(region.finding for own in regions.values() for region in own)
    anatomy = {region.finding for own in regions.values() for region in own if region.kind == ANATOMY}
    findings = list(config.label) or sorted(set(counts) - anatomy)
    unknown_names = [name for name in findings if name not in counts]
    if unknown_names or not findings:
        what = f"of '{unknown_names[0]}' " if unknown_names else "of a finding "
        hint = nearest(unknown_names[0], list(counts)) if unknown_names else None
        names = ", ".join(sorted(counts)) or "none; detection needs a store whose source gives boxes, e.g. the phantom"
        raise UserError(f"no box {what}among {len(rows)} images of the store {store.name}", hint or f"Boxes there: {names}.")
    told_apart = config.detect.classes == "each" and len(findings) > 1
    number = {name: place if told_apart else 0 for place, name in enumerate(findings)}
    of, unknown = {}, []
    labelled = _labelled(store, rows, findings)
    for row, own in regions.items():
        chosen = [region for region in own if region.finding in number]
        if not chosen and row in labelled:
            unknown.append(row)
            continue
        boxes = np.array([region.box for region in chosen], np.float64).reshape(-1, 4)
        of[row] = TrueBoxes(_checked(store, row, boxes), np.array([number[region.finding] for region in chosen], np.int64))
    return DetectionTruth(findings, findings if told_apart else [ANY], of, unknown)


def _labelled(store: Store, rows: RowNumbers, findings: list[str]) -> set[int]:
    """The rows whose labels say that one of the findings is present."""
    known = [name for name in findings if name in store.findings]
    if not known:
        return set()
    return {int(row) for row in rows[(store.labels(rows, known) == 1).any(axis=1)]}


def _checked(store: Store, row: int, boxes: np.ndarray) -> np.ndarray:
    clipped, kept = clip_boxes(boxes, store.size)
    if not kept.all():
        box = [round(float(value), 1) for value in boxes[~kept][0]]
        image = store.column("row_id")[row]
        problem = f"box {box} of image {image} is inverted, not finite or outside its {store.size} pixels"
        raise UserError(problem, "Mend it in the source and prepare the store anew, or leave the image out with --where.")
    return clipped
