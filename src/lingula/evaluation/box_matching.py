"""Which found box is a hit, decided once per image; average precision and sensitivity under any weighting of the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from lingula.core.types import Boxes
from lingula.evaluation.arrays import Array, Weights
from lingula.evaluation.detection import FoundBoxes, TrueBoxes

RECALLS = np.linspace(0.0, 1.0, 101)
"""COCO's recalls at which precision is read."""
CELLS = 4_000_000
"""Most numbers held at once; bounds the memory whatever the number of boxes."""


@dataclass(frozen=True)
class Matches:
    """The found boxes of one class in all images, best first, and which of them are hits.

    Args:
        image: The image of each found box.
        hits: Whether it is a hit, for every threshold of the overlap.
        truths: True boxes of each image.
    """

    image: Int[np.ndarray, " found"]
    hits: Bool[np.ndarray, "thresholds found"]
    truths: Float[np.ndarray, " images"]

    @classmethod
    def of(cls, truth: Sequence[TrueBoxes], found: Sequence[FoundBoxes], label: int, thresholds: Sequence[float]) -> Matches:
        """Match one class, image by image."""
        images, scores, hits = [], [], []
        for number, (own, said) in enumerate(zip(truth, found, strict=True)):
            chosen = said.labels == label
            order = np.argsort(-said.scores[chosen], kind="stable")
            overlaps = box_overlaps(said.boxes[chosen][order], own.boxes[own.labels == label])
            hits.append(match_boxes(overlaps, thresholds))
            scores.append(said.scores[chosen][order])
            images.append(np.full(len(order), number))
        order = np.argsort(-np.concatenate([*scores, np.zeros(0)]), kind="stable")
        image = np.concatenate([*images, np.zeros(0, np.int64)]).astype(np.int64)[order]
        counts = np.array([float((own.labels == label).sum()) for own in truth])
        return cls(image, np.concatenate([*hits, np.zeros((len(thresholds), 0), bool)], axis=1)[:, order], counts)

    def average_precision(self, weights: Weights) -> Float[np.ndarray, "resamples thresholds"]:
        """Return COCO's average precision: the precision's envelope, read at 101 recalls, averaged.

        An image of weight 2 counts as two equal images. NaN where no true box has weight.
        """
        result = np.full((len(weights), len(self.hits)), np.nan)
        for start, own, seen, total in self._blocks(weights):
            for threshold, hits in enumerate(self.hits):
                at = np.flatnonzero(hits)
                hit = np.cumsum(own[:, at], axis=1)
                precision = hit / np.maximum(seen[:, at], np.finfo(float).tiny)
                envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
                for row in np.flatnonzero(total > 0):
                    place = np.searchsorted(hit[row] / total[row], RECALLS, side="left")
                    result[start + row, threshold] = np.append(envelope[row], 0.0)[place].mean()
        return result

    def sensitivity(self, weights: Weights, threshold: int, rates: Sequence[float]) -> Float[np.ndarray, "resamples rates"]:
        """Return the share of true boxes that are hit while the score admits at most so many false boxes per image.

        Args:
            weights: `resamples images`.
            threshold: Number of the overlap threshold.
            rates: False positives per image.
        """
        result = np.full((len(weights), len(rates)), np.nan)
        images = weights.sum(axis=1)
        for start, own, seen, total in self._blocks(weights):
            hit = np.cumsum(own * self.hits[threshold], axis=1)
            false = seen - hit
            for row in np.flatnonzero(total > 0):
                admitted = np.searchsorted(false[row], np.array(rates) * images[start + row], side="right")
                result[start + row] = np.append(0.0, hit[row])[admitted] / total[row]
        return result

    def _blocks(self, weights: Weights) -> Iterator[tuple[int, Array, Array, Array]]:
        """First resample of a block, weights of the found boxes, their sums down to each box, weights of the true boxes."""
        size = max(1, CELLS // max(len(self.image), 1))
        for start in range(0, len(weights), size):
            block = weights[start : start + size].astype(np.float64)
            own = block[:, self.image]
            yield start, own, np.cumsum(own, axis=1), block @ self.truths


def box_overlaps(a: Boxes, b: Boxes) -> Float[np.ndarray, "a b"]:
    """Return the intersection over union of every pair of boxes; 0 where both are empty."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inside = np.maximum(sides, 0).prod(axis=2)
    areas = [np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) for boxes in (a, b)]
    together = areas[0][:, None] + areas[1][None] - inside
    overlaps: Float[np.ndarray, "a b"] = np.divide(inside, together, out=np.zeros_like(inside), where=together > 0)
    return overlaps


def match_boxes(overlaps: Float[np.ndarray, "found truths"], thresholds: Sequence[float]) -> Bool[np.ndarray, "thresholds found"]:
    """Match as COCO does: each found box, best first, takes the free true box that it overlaps most, if by the threshold.

    Args:
        overlaps: Intersection over union, best found box first.
        thresholds: Smallest overlap of a hit.
    """
    hits = np.zeros((len(thresholds), len(overlaps)), bool)
    if not overlaps.size:
        return hits
    candidates = np.flatnonzero(overlaps.max(axis=1) >= min(thresholds))
    for number, threshold in enumerate(thresholds):
        free = overlaps.copy()
        for place in candidates:
            best = free.shape[1] - 1 - int(np.argmax(free[place, ::-1]))
            if free[place, best] >= threshold:
                hits[number, place] = True
                free[:, best] = -1.0
    return hits
