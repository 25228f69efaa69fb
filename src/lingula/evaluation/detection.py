"""What detection speaks of: the boxes of an image, true or found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lingula.core.types import Boxes


@dataclass(frozen=True)
class TrueBoxes:
    """The boxes of one image.

    Args:
        boxes: `boxes 4`.
        labels: The class of each, counted from 0.
    """

    boxes: Boxes
    labels: Int[np.ndarray, " boxes"]


@dataclass(frozen=True)
class FoundBoxes:
    """What a detector says about one image, best first.

    Args:
        boxes: `boxes 4`.
        scores: 0 to 1, falling.
        labels: The class of each, counted from 0.
    """

    boxes: Boxes
    scores: Float[np.ndarray, " boxes"]
    labels: Int[np.ndarray, " boxes"]

    @classmethod
    def nothing(cls) -> FoundBoxes:
        """No box at all."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))

    def above(self, score: float) -> FoundBoxes:
        """Return those with at least some score."""
        kept = self.scores >= score
        return FoundBoxes(self.boxes[kept], self.scores[kept], self.labels[kept])
