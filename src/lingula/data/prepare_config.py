"""How a store is prepared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lingula.core.config import Config


class PrepareConfig(Config):
    """Numbers that determine what a store holds; another value makes another store."""

    size: Annotated[int, Field(ge=8, le=4096)] = 256
    """Side of the stored square image in pixels; the aspect is kept by black padding."""
    bit_depth: Literal[8, 16] = 8
    """Bits per stored grey value."""
    shard_studies: Annotated[int, Field(ge=1)] = 256
    """Studies per shard, the unit of work that is finished or not."""
    split_fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, val and test among patients whose split the source does not give."""
    split_seed: int = 0
    """Another number gives another split by patient."""

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> PrepareConfig:
        if min(self.split_fractions) < 0 or abs(sum(self.split_fractions) - 1) > 1e-6:
            raise ValueError(f"split_fractions must be three shares that sum to 1, not {self.split_fractions}")
        return self
