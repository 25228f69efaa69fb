"""Configuration of the text encoder; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lingula.core.config import Config


class SmallLanguageModelConfig(Config):
    """The small BERT that is trained in seconds on the store's own reports (text encoder `small`)."""

    vocabulary: int = Field(2500, ge=64)
    """Word pieces, at most; special tokens and single characters included."""
    layers: int = Field(2, ge=1)
    """Transformer layers."""
    width: int = Field(128, ge=8)
    """Features per token."""
    heads: int = Field(4, ge=2)
    """Attention heads; the width must be an even multiple of them."""
    max_tokens: int = Field(256, ge=8)
    """Longest text; what is longer is cut."""
    steps: int = Field(150, ge=1)
    """Masked-language-modelling steps."""
    batch_tokens: int = Field(1024, ge=64)
    """Tokens per step, padding included."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate of AdamW; linear warm-up over 10 % of the steps, then linear decay to zero."""
    masked_share: float = Field(0.2, gt=0, lt=1)
    """Share of the tokens that must be predicted."""
    standardisation_texts: int = Field(4096, ge=2)
    """Texts, at most, that mean and spread of the features are measured on."""


class TextEncoderConfig(Config):
    """Which language model reads the reports."""

    name: str = "small"
    """`small` (trained on the store's own training reports), a folder in Hugging Face layout, or a hub name."""
    revision: str | None = None
    """Commit, tag or branch of a hub model; pin one for reproducible runs."""
    pooling: Literal["mean", "cls"] = "mean"
    """Mean over all tokens, or the first token."""
    max_tokens: int = Field(512, ge=2)
    """Longest text; what is longer is cut, and the share of cut texts is printed."""
    frozen: bool = True
    """Keep the weights as they are, in evaluation mode; its outputs are then cached."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model; only for models you have read."""
    small: SmallLanguageModelConfig = SmallLanguageModelConfig()
    """How the small model is trained; used for the name `small` only."""
