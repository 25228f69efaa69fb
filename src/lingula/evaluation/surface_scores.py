"""Agreement of surfaces in mm: the normalised surface Dice of each volume and finding, and its rows.

NSD = (|S_P near S_T| + |S_T near S_P|) / (|S_P| + |S_T|), with S the border voxels of prediction and truth and "near" at most the
tolerance away, mm (Nikolov et al. 2018, arXiv 1809.04430; distances by MONAI, between centres of border voxels, not weighted by
surface elements). Where the finding is and nothing is predicted it is 0; a volume without the finding has none: what is predicted
there lowers "specificity" and raises "false area" of the strict scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lingula.core.types import VolumeMask
from lingula.evaluation.arrays import Array, Numbers, Statistics, UnitScores, Weights
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.metrics import nanmean, weighted_mean
from lingula.evaluation.result import ResultRow, number
from lingula.evaluation.scored import MACRO, with_macro

NSD = "NSD"


def surface_dice(predicted: VolumeMask, truth: VolumeMask, spacing: tuple[float, float, float], tolerance: float) -> float:
    """Compute the normalised surface Dice of one volume; NaN for an empty truth, 0 for an empty prediction of one that is not.

    Args:
        predicted: `x y z`.
        truth: `x y z`.
        spacing: Voxel size along x, y and z, mm.
        tolerance: mm.

    Raises:
        ValueError: The masks are of different shapes.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"masks of one shape needed, got {predicted.shape} and {truth.shape}")
    if not truth.any():
        return float("nan")
    if not predicted.any():
        return 0.0
    from monai.metrics import compute_surface_dice

    inside = np.argwhere(predicted | truth)
    part = tuple(slice(low, high + 1) for low, high in zip(inside.min(axis=0), inside.max(axis=0), strict=True))
    masks = [torch.from_numpy(np.pad(mask[part], 1)).float()[None, None] for mask in (predicted, truth)]
    value = compute_surface_dice(*masks, class_thresholds=[tolerance], include_background=True, spacing=list(spacing))
    return float(value.item())


@dataclass(frozen=True)
class ScoredSurfaces:
    """The normalised surface Dice of several fits on the same volumes.

    Args:
        patients: The patient of each volume.
        findings: Names of the findings.
        values: `units volumes findings`; NaN where the finding is not, is unknown, or a unit does not score the volume.
    """

    patients: list[str]
    findings: list[str]
    values: UnitScores

    def take(self, chosen: Array) -> ScoredSurfaces:
        """Return the same for some of the volumes, by position."""
        return ScoredSurfaces([self.patients[i] for i in chosen], self.findings, self.values[:, chosen])

    def measure(self, weights: Weights) -> Numbers:
        """Compute the mean over volumes under every weighting, `resamples 1 findings`, averaged over units."""
        result = np.full((len(self.values), len(weights), 1, len(self.findings)), np.nan)
        for unit, values in enumerate(self.values):
            for column in range(len(self.findings)):
                scored = ~np.isnan(values[:, column])
                result[unit, :, 0, column] = weighted_mean(values[scored, column], weights[:, scored])
        return nanmean(result, axis=0)


def surface_rows(
    scored: ScoredSurfaces, samples: int, seed: int, setting: str = "", subgroup: str = "all", other: ScoredSurfaces | None = None
) -> list[ResultRow]:
    """Turn values into rows, per finding and their mean, with intervals over patients.

    With `other`, the same volumes scored for another model, the rows are the paired differences from it.
    """

    def statistic(weights: Weights) -> Statistics:
        values = scored.measure(weights)
        return with_macro(values if other is None else values - other.measure(weights))

    value, low, high = bootstrap_interval(statistic, scored.patients, samples, seed)
    there = ~np.isnan(scored.values).all(axis=0)
    counts = [*there.sum(axis=0).tolist(), int(there.any(axis=1).sum())]
    return [
        ResultRow(
            metric=NSD,
            label=label,
            setting=setting,
            subgroup=subgroup,
            value=number(value[place]),
            low=number(low[place]),
            high=number(high[place]),
            n=counts[place],
            positives=counts[place],
            chance=None if other is None else 0.0,
        )
        for place, label in enumerate([*scored.findings, MACRO])
    ]


def surfaces_from_columns(columns: dict[str, np.ndarray]) -> ScoredSurfaces:
    """Rebuild the values of one setting from the long table of predictions; volumes come in the order of their names."""
    row_ids, first, volume = np.unique(columns["row_id"].astype(str), return_index=True, return_inverse=True)
    findings, finding = np.unique(columns["finding"].astype(str), return_inverse=True)
    unit = columns["unit"].astype(int)
    values = np.full((int(unit.max(initial=0)) + 1, len(row_ids), len(findings)), np.nan)
    values[unit, volume, finding] = columns[NSD]
    return ScoredSurfaces([str(name) for name in columns["patient_id"][first]], [str(name) for name in findings], values)
