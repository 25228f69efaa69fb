"""Where a map is cut into inside and outside: one threshold for all phrases, chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lingula.evaluation.arrays import Numbers
from lingula.evaluation.grounding.measures import RankedMap
from lingula.evaluation.metrics import nanmean

QUANTILES = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99)
VALUES = 40
"""Values that are tried, at equal steps of rank among the pixels of all validation maps."""
_LEVELS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Threshold:
    """What a pixel must reach.

    Args:
        kind: A quantile of its own map, or a value that all maps share.
        level: Which.
    """

    kind: Literal["quantile", "value"]
    level: float

    def on(self, ranked: RankedMap) -> float:
        """Return the value of one map's threshold."""
        return float(ranked.quantiles(np.array([self.level]))[0]) if self.kind == "quantile" else self.level


@dataclass(frozen=True)
class Choice:
    """The chosen threshold, and the mean IoU of the best one of each kind on validation."""

    threshold: Threshold
    measured: dict[str, dict[str, float]]

    def described(self) -> dict[str, Any]:
        """Return it for a protocol."""
        return {"kind": self.threshold.kind, "level": self.threshold.level, "validation IoU": self.measured}


def choose_threshold(maps: Callable[[], Iterable[RankedMap]], findings: Sequence[str]) -> Choice | None:
    """Return the threshold with the best IoU on validation, meaned over findings; the quantile where both kinds are equal.

    Args:
        maps: Gives the ranked validation maps, in the same order each time; it is gone through twice, so none is kept.
        findings: The finding of each; no finding gives no threshold.
    """
    if not findings:
        return None
    values = np.unique(np.quantile(np.concatenate([ranked.quantiles(_LEVELS) for ranked in maps()]), np.linspace(0, 1, VALUES)))
    candidates = [Threshold("quantile", level) for level in QUANTILES] + [Threshold("value", float(v)) for v in values]
    quantiles = np.array(QUANTILES)
    overlaps = np.stack([m.overlap(np.concatenate([m.quantiles(quantiles), values]))[0] for m in maps()])
    means = _mean_of_findings(overlaps, findings)
    best = {kind: _best(candidates, means, kind) for kind in ("quantile", "value")}
    chosen = max(best.values(), key=lambda number: means[number])
    measured = {kind: {"level": candidates[n].level, "IoU": float(means[n])} for kind, n in best.items()}
    return Choice(candidates[chosen], measured)


def _mean_of_findings(values: Numbers, findings: Sequence[str]) -> Numbers:
    names = np.asarray(findings)
    return nanmean(np.stack([values[names == name].mean(axis=0) for name in dict.fromkeys(findings)]), axis=0)


def _best(candidates: Sequence[Threshold], means: Numbers, kind: str) -> int:
    places = [number for number, candidate in enumerate(candidates) if candidate.kind == kind]
    return max(places, key=lambda number: float(means[number]))
