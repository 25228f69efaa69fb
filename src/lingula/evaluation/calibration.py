"""How far predicted probabilities can be believed: reliability curve and expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lingula.evaluation.arrays import Array
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.result import TaskResult

BINS = 10
SAMPLES = 300
"""Resamples of patients for the intervals of a curve."""


@dataclass(frozen=True)
class Calibration:
    """One run's reliability, over all findings together.

    Args:
        predicted: Mean predicted probability of each bin, `bins`.
        observed: Share of images in the bin that are labelled present, `bins`.
        low: Low ends of its 95 % interval, bootstrap over patients, `bins`.
        high: High ends, `bins`.
        error: Expected calibration error, mean over predictions of |observed − predicted| of their bin, with its interval:
            value, low, high (Naeini et al., AAAI 2015, here with bins of equal counts).
    """

    predicted: Array
    observed: Array
    low: Array
    high: Array
    error: tuple[float, float, float]


def calibration(result: TaskResult, bins: int = BINS, samples: int = SAMPLES, seed: int = 0) -> Calibration | None:
    """Return a result's reliability, from its last setting's first unit; None without probabilities or labels.

    Args:
        result: A classification result.
        bins: Bins of equal counts.
        samples: Resamples of patients.
        seed: Seed of the draw.
    """
    table = result.predictions
    columns = {name: table.column(name).to_numpy() for name in ("setting", "unit", "target", "probability", "patient_id")}
    known = ~np.isnan(columns["target"].astype(float)) & ~np.isnan(columns["probability"].astype(float))
    keep = known & (columns["setting"] == columns["setting"][-1]) & (columns["unit"] == 0) if len(known) else known
    if not keep.any():
        return None
    probability, target = columns["probability"][keep].astype(float), columns["target"][keep].astype(float)
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, probability, side="right")
    used = np.unique(place)
    patients, index = np.unique(columns["patient_id"][keep].astype(str), return_inverse=True)
    sums = np.zeros((3, len(patients), len(used)))
    for number, values in enumerate((np.ones_like(target), target, probability)):
        np.add.at(sums[number], (index, np.searchsorted(used, place)), values)

    def statistic(weights: Array) -> Array:
        counts, present, predicted = (weights @ each for each in sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = present / counts
        error = np.abs(present - predicted).sum(axis=1) / counts.sum(axis=1)
        return np.column_stack([shares, error])

    values, low, high = bootstrap_interval(statistic, list(patients), samples, seed)
    predicted = sums[2].sum(axis=0) / sums[0].sum(axis=0)
    return Calibration(predicted, values[:-1], low[:-1], high[:-1], (float(values[-1]), float(low[-1]), float(high[-1])))
