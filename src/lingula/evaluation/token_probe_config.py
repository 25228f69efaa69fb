"""The numbers of the probes on tokens; nothing heavy is imported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lingula.core.config import Config

Pooling = Literal["average", "max", "average-query", "query", "4-queries"]


class TokenProbeConfig(Config):
    """Linear classifiers on pooled tokens; the defaults are COLIPRI's (arXiv 2510.15042, Table 7, as quoted by a third party)."""

    poolings: tuple[Pooling, ...] = Field(default=("average", "max", "average-query", "query", "4-queries"), min_length=1)
    """How tokens become one vector: their average or maximum, or attention of one head whose query is the average token, is
    learned, or is four learned ones whose answers are averaged."""
    rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.1, 0.03, 0.01, 0.003), min_length=1)
    """Learning rates; every pooling is trained with each."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Of the stochastic gradient descent."""
    steps: int = Field(default=12_500, ge=1)
    """Steps; the rate falls along half a cosine to 0."""
    batch: int = Field(default=16, ge=1)
    """Volumes per step."""
