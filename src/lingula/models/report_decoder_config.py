"""Configuration of the report decoder; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from lingula.core.config import Config


class ReportDecoderConfig(Config):
    """A causal transformer that reads a volume's tokens; of COLIPRI's own nothing but its kind is known: ours."""

    width: int = Field(default=512, ge=8)
    """Features of each token."""
    layers: int = Field(default=6, ge=1)
    """Blocks."""
    heads: int = Field(default=8, ge=1)
    """Attention heads of each block."""
    max_tokens: int = Field(default=256, ge=2)
    """Longest report that is learned; what is longer is cut."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of each block in training."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} attention heads do not divide {self.width} features")
        return self
