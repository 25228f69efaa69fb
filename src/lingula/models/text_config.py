"""Configuration of the text encoder; importing it imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from lingula.core.config import Config
from lingula.models.text_recipes import PoolingKind


class SmallLanguageModelConfig(Config):
    """The small language model that is trained in seconds on the store's own reports (text encoder `small`)."""

    vocabulary: int = Field(2500, ge=64)
    """Word pieces, at most; special tokens and single characters included."""
    layers: int = Field(0, ge=0)
    """Transformer layers; with 0 a text is the weighted mean of its word embeddings, and their order does not matter."""
    width: int = Field(192, ge=8)
    """Features per token."""
    heads: int = Field(4, ge=2)
    """Attention heads; the width must be an even multiple of them."""
    max_tokens: int = Field(256, ge=8)
    """Longest text; what is longer is cut."""
    word_steps: int = Field(200, ge=0)
    """Steps of the sentence-level objective for word embeddings and token weights, before the transformer is trained."""
    word_learning_rate: float = Field(3e-3, gt=0)
    """Peak learning rate of these steps."""
    word_dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the tokens that these steps leave out at random."""
    steps: int = Field(150, ge=0)
    """Masked-language-modelling steps; none without layers."""
    batch_tokens: int = Field(1024, ge=64)
    """Tokens per step, padding included."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate of AdamW; linear warm-up over 10 % of the steps, then linear decay to zero."""
    masked_share: float = Field(0.2, gt=0, lt=1)
    """Share of the tokens that must be predicted."""
    sentence_steps: int = Field(0, ge=0)
    """Steps of the sentence-level objective for the transformer, at the end; none without layers."""
    sentence_learning_rate: float = Field(5e-4, gt=0)
    """Peak learning rate of these steps."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of these steps; a text paired with itself differs by nothing else."""
    sentence_pairs: int = Field(256, ge=2)
    """Pairs of texts per step of the sentence-level objective."""
    sentence_tokens: int = Field(96, ge=8)
    """Longest text of a pair; what is longer is cut in training."""
    temperature: float = Field(0.2, gt=0)
    """Temperature of the sentence-level objective."""
    standardisation_texts: int = Field(4096, ge=2)
    """Texts, at most, that mean and spread of the features are measured on."""

    @property
    def needs_pairs(self) -> bool:
        """Whether any phase has the sentence-level objective."""
        return self.word_steps > 0 or (self.layers > 0 and self.sentence_steps > 0)


class LanguageModelConfig(SmallLanguageModelConfig):
    """The larger form, trained on real reports by `lingula pretrain language-model`."""

    vocabulary: int = Field(4000, ge=64)
    """Word pieces, at most; special tokens and single characters included."""
    width: int = Field(256, ge=8)
    """Features per token."""
    word_steps: int = Field(800, ge=0)
    """Steps of the sentence-level objective for word embeddings and token weights, before the transformer is trained."""
    sentence_pairs: int = Field(64, ge=2)
    """Pairs of texts per step of the sentence-level objective."""
    temperature: float = Field(0.05, gt=0)
    """Temperature of the sentence-level objective."""
    sentence_steps: int = Field(300, ge=0)
    """Steps of the sentence-level objective for the transformer, at the end; none without layers."""


class TextEncoderConfig(Config):
    """Which language model reads the reports."""

    name: str = "small"
    """`small` (trained on the store's own training reports), a published one (`cxr-bert-general`, `cxr-bert-specialized`,
    `bio-clinical-bert`, `pubmed-bert`), a folder in Hugging Face layout, or a hub name."""
    folder: Path | None = None
    """Where the files of a published one lie, instead of the hub."""
    revision: str | None = None
    """Commit, tag or branch of a hub model; published ones are pinned, pin others for reproducible runs."""
    pooling: PoolingKind | None = None
    """Mean over all tokens, the first token, or the first token through the model's own projection head; where nothing is
    given: as published or as saved, else the mean."""
    max_tokens: int = Field(512, ge=2)
    """Longest text; what is longer is cut, and the share of cut texts is printed."""
    padding: Literal["longest", "max"] = "longest"
    """Pad a batch to its longest text, or always to `max_tokens`: slower, to reproduce code whose padding enters statistics."""
    frozen: bool = True
    """Keep the weights as they are, in evaluation mode; its outputs are then cached."""
    frozen_layers: int = Field(default=0, ge=0)
    """Lowest transformer layers that keep their weights where the others are trained."""
    frozen_embeddings: bool = False
    """Whether the token embeddings keep their weights too; with `frozen_layers` no gradient then reaches the lower layers."""
    dropout: bool = True
    """Whether an encoder that is trained drops out."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model; only for models you have read."""
    small: SmallLanguageModelConfig = SmallLanguageModelConfig()
    """How the small model is trained; used for the name `small` only."""
