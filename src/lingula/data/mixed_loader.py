"""Two streams in one training: batches of pairs, and in a stated proportion batches of images without text."""

from __future__ import annotations

from dataclasses import replace
from math import floor

from lingula.data.loader import StepBatch, TrainingLoader

ROUNDING = 1e-9
"""What a product of a step and a share may be short of a whole number by."""


class MixedLoader(TrainingLoader):
    """Steps of `pairs` with steps of `images` between them, evenly spaced; each stream goes on where it was left.

    Which stream a step belongs to depends on the step alone, so a run goes on from any step with any number of workers, and the
    batches of pairs are those of a training without the other stream, in the same order. A batch never holds both.

    Args:
        pairs: Loader of the batches with text; its builder, workers and the like are the mixture's.
        images: Loader of the batches without.
        share: Share of the steps that `images` gets, above 0 and below 1.

    Raises:
        ValueError: The share is none, or `images` gives texts or labels.
    """

    def __init__(self, pairs: TrainingLoader, images: TrainingLoader, share: float) -> None:
        super().__init__(pairs.build, pairs.order, pairs.world, pairs.workers, pairs.pin)
        if not 0 < share < 1:
            raise ValueError(f"a share of {share} is not between 0 and 1")
        if images.build.text is not None or images.build.findings:
            raise ValueError("the stream of images alone gives texts or labels")
        self._images, self._share = images, share

    def batch(self, step: int) -> StepBatch:
        """Load one step's batch now, from the stream whose turn it is; `epoch` is a pass over that stream."""
        before = self.images_before(step)
        if self.images_before(step + 1) > before:
            return replace(self._images.batch(before), step=step)
        return replace(super().batch(step - before), step=step)

    def images_before(self, step: int) -> int:
        """Count the steps up to, not including, a step that have images alone."""
        return floor(step * self._share + ROUNDING)
