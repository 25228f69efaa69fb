"""Configuration of a BERT-class text encoder with attention pooling; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from lingula.core.config import Config
from lingula.models.volume_config import Positive


class BertSizes(Config):
    """Sizes of a BERT; the defaults are CXR-BERT's (the names are those of transformers)."""

    hidden_size: Positive = 768
    """Features of each token."""
    num_hidden_layers: Positive = 12
    """Transformer layers."""
    num_attention_heads: Positive = 12
    """Attention heads of each layer."""
    intermediate_size: Positive = 3072
    """Width of the hidden layer of each block."""
    vocab_size: Positive = 30522
    """Word pieces."""
    max_position_embeddings: Positive = 512
    """Longest text in tokens, special tokens included."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"{self.num_attention_heads} attention heads do not divide {self.hidden_size} features")
        return self
