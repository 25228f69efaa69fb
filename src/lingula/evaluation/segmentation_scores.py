"""Overlap of predicted and true masks, from pixel counts per image: the published score of MGCA, and a strict one.

Prediction and truth are compared in the model's view: padded, cropped and resized as `ImageTransform.evaluate` does, so what the
crop cuts off is neither found nor missed. In every score a pixel is predicted where its probability is *above* a threshold.

An image whose truth is empty has no Dice: 0 / 0, or 0 for a single wrong pixel. The two scorers deal with that differently.

- `mgca` ("mgca Dice"): per image at the threshold 0.5, **1 for an empty truth with an empty prediction, else 0**; mean over each
  batch, in the order of the store, then over batches, so that images of an incomplete last batch weigh more. A model that
  never predicts anything scores the share of healthy images; that number stands as chance.
- `strict`: thresholds per finding from validation. "Dice" and "IoU" are means over the images in which the finding is; over the
  others "specificity" is the share in which nothing is predicted, and "false area" the mean share of the view that is.
  "pooled Dice" needs no rule: 2 Σ|P∩T| / (Σ|P| + Σ|T|) over the pixels of all images; it is what the thresholds maximise.
  Chance is what predicting every pixel gets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from lingula.evaluation.arrays import Array, ImageScores, Numbers, PerFinding, PerResample, Scores, UnitScores, Weights
from lingula.evaluation.metrics import nanmean, weighted_mean

STRICT = ("Dice", "IoU", "pooled Dice", "specificity", "false area")
MGCA = "mgca Dice"
MGCA_THRESHOLD = 0.5
THRESHOLDS = (0.01, 0.02, *(round(0.05 * step, 2) for step in range(1, 20)), 0.98, 0.99)
"""Among which the strict scorer chooses on validation."""

ThresholdCounts: TypeAlias = Float[np.ndarray, "images findings thresholds"]


@dataclass(frozen=True)
class PixelCounts:
    """What one fit predicts, as numbers of pixels at every threshold of `THRESHOLDS`; NaN where the truth is unknown.

    Args:
        truth: `images findings`, pixels that are true.
        predicted: `images findings thresholds`.
        overlap: `images findings thresholds`, predicted and true.
        area: Pixels of the view, or of each image's own.
    """

    truth: ImageScores
    predicted: ThresholdCounts
    overlap: ThresholdCounts
    area: int | Scores

    def at(self, thresholds: PerFinding) -> tuple[ImageScores, ImageScores]:
        """Return predicted pixels and overlap, `images findings`, at one threshold of the list per finding."""
        places = np.array([THRESHOLDS.index(value) for value in thresholds])[None, :, None]
        predicted, overlap = (np.take_along_axis(values, places, axis=2)[:, :, 0] for values in (self.predicted, self.overlap))
        return predicted, overlap

    def best(self) -> tuple[PerFinding, PerFinding]:
        """Return per finding the threshold with the highest pooled Dice, and that Dice; 0.5 and NaN where nothing is to be found.

        Call it on validation only. Of equally good thresholds it is the middle one.
        """
        overlap, predicted = np.nansum(self.overlap, axis=0), np.nansum(self.predicted, axis=0)
        truth = np.nansum(self.truth, axis=0)
        dice = 2 * overlap / np.maximum(predicted + truth[:, None], 1)
        good = dice >= dice.max(axis=1, keepdims=True) - 1e-12
        chosen = [float(np.array(THRESHOLDS)[row][(row.sum() - 1) // 2]) for row in good]
        found = truth > 0
        return np.where(found, chosen, MGCA_THRESHOLD), np.where(found, dice.max(axis=1), np.nan)


@dataclass(frozen=True)
class ScoredMasks:
    """What one or several fits (random draws, folds) predict on the same images.

    A metric is computed within each fit and then averaged, so pixels of different fits are never mixed.

    Args:
        row_ids: The store's name of each image, in the order of the store.
        patients: The patient of each image.
        findings: Names of the findings.
        area: Pixels of the view, or of each image's own.
        truth: `images findings`, pixels; NaN where unknown.
        predicted: `units images findings`, pixels at the thresholds; NaN where unknown or not scored by a unit.
        overlap: The same, predicted and true.
        predicted_half: The same at 0.5.
        overlap_half: The same at 0.5.
        thresholds: `units findings`, from validation.
    """

    row_ids: list[str]
    patients: list[str]
    findings: list[str]
    area: int | Scores
    truth: ImageScores
    predicted: UnitScores
    overlap: UnitScores
    predicted_half: UnitScores
    overlap_half: UnitScores
    thresholds: Numbers

    def take(self, chosen: np.ndarray) -> ScoredMasks:
        """Return the same for some of the images, by position."""
        names = [self.row_ids[i] for i in chosen], [self.patients[i] for i in chosen]
        counts = {name: getattr(self, name)[:, chosen] for name in ("predicted", "overlap", "predicted_half", "overlap_half")}
        area = self.area if isinstance(self.area, int) else self.area[chosen]
        return replace(self, row_ids=names[0], patients=names[1], area=area, truth=self.truth[chosen], **counts)

    def totals(self) -> tuple[Array, Array, Array]:
        """Count images that are scored, those with the finding and those without; behind the findings, those with any."""
        used = ~np.isnan(self.truth) & (~np.isnan(self.predicted)).any(axis=0)
        kinds = used, used & (self.truth > 0), used & (self.truth == 0)
        counted, there, clear = (np.append(kind.sum(axis=0), kind.any(axis=1).sum()) for kind in kinds)
        return counted, there, clear

    def measure(self, weights: Weights) -> Numbers:
        """Compute the metrics of `STRICT` under every weighting, `resamples metrics findings`, averaged over units."""
        result = np.full((len(weights), len(STRICT), len(self.findings)), np.nan)
        for column in range(len(self.findings)):
            units = [
                strict_metrics(self.truth[:, column], predicted[:, column], overlap[:, column], self.area, weights)
                for predicted, overlap in zip(self.predicted, self.overlap, strict=True)
            ]
            result[:, :, column] = nanmean(np.stack(units), axis=0)
        return result

    def mgca(self, batch: int) -> PerFinding:
        """Compute `mgca_dice` per finding, averaged over units."""
        units = [
            [mgca_dice(t, p, o, batch) for t, p, o in zip(self.truth.T, predicted.T, overlap.T, strict=True)]
            for predicted, overlap in zip(self.predicted_half, self.overlap_half, strict=True)
        ]
        values: PerFinding = nanmean(np.array(units), axis=0)
        return values

    def constant(self, everywhere: bool) -> ScoredMasks:
        """Return what a model would give that predicts every pixel, or none."""
        unknown = np.isnan(self.truth)
        area = np.broadcast_to(self.area, len(self.row_ids))[:, None]
        predicted = np.where(unknown, np.nan, area if everywhere else 0.0)[None]
        overlap = np.where(unknown, np.nan, self.truth if everywhere else 0.0)[None]
        return replace(
            self,
            predicted=predicted,
            overlap=overlap,
            predicted_half=predicted,
            overlap_half=overlap,
            thresholds=self.thresholds[:1],
        )


def strict_metrics(truth: Scores, predicted: Scores, overlap: Scores, area: int | Scores, weights: Weights) -> Numbers:
    """Compute the metrics of `STRICT` for one finding under every weighting, `resamples metrics`.

    Args:
        truth: True pixels of each image; NaN where unknown.
        predicted: Predicted pixels; NaN where not scored.
        overlap: Pixels that are both.
        area: Pixels of the view, or of each image's own.
        weights: `resamples images`.
    """
    scored = ~np.isnan(truth) & ~np.isnan(predicted)
    there, clear = scored & (truth > 0), scored & (truth == 0)
    both, either = overlap[there], predicted[there] + truth[there]
    total, hit = (predicted + truth)[scored], overlap[scored]
    pooled = _ratio(weights[:, scored] @ (2 * hit), weights[:, scored] @ total)
    return np.stack(
        [
            weighted_mean(2 * both / either, weights[:, there]),
            weighted_mean(both / (either - both), weights[:, there]),
            pooled,
            weighted_mean((predicted[clear] == 0).astype(float), weights[:, clear]),
            weighted_mean((predicted / area)[clear], weights[:, clear]),
        ],
        axis=1,
    )


def mgca_dice(truth: Scores, predicted: Scores, overlap: Scores, batch: int, drop_last: bool = False) -> float:
    """Compute MGCA's Dice for one finding (see the head of this file); NaN where nothing is known.

    Args:
        truth: True pixels of each image, in order; unknown (NaN) images are left out before the batches are cut.
        predicted: Predicted pixels at 0.5; NaN where not scored.
        overlap: Pixels that are both.
        batch: Images per batch.
        drop_last: Leave out an incomplete last batch, as MGCA does on validation (a single incomplete batch stays).
    """
    scored = ~np.isnan(truth) & ~np.isnan(predicted)
    truth, predicted, overlap = truth[scored], predicted[scored], overlap[scored]
    each = np.where(truth > 0, 2 * overlap / np.maximum(predicted + truth, 1), predicted == 0)
    parts = [each[start : start + batch] for start in range(0, len(each), batch)]
    if drop_last and len(parts) > 1 and len(parts[-1]) < batch:
        parts.pop()
    return float(np.mean([part.mean() for part in parts])) if parts else float("nan")


def _ratio(above: PerResample, below: PerResample) -> PerResample:
    result: PerResample = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return result
