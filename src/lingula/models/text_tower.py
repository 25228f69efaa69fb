"""The text half of a volume-text model: a language model that is trained, and attention pooling of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lingula.core.batch import Tokens
from lingula.core.errors import UserError
from lingula.core.types import TextFeatures
from lingula.models.attention_pool_1d import AttentionPool1d
from lingula.models.text_encoder import TextEncoder


class TextTower(nn.Module):
    """Last hidden states (`encoder`), pooled by the attention of their mean (`pooler`); no projection behind it.

    It stands where a `TextEncoder` stands; the encoder's own pooling is not used.

    Args:
        encoder: Trained.
        heads: Attention heads of the pooling.

    Raises:
        UserError: The encoder is frozen, or the heads do not divide its width.
    """

    def __init__(self, encoder: TextEncoder, heads: int) -> None:
        super().__init__()
        if encoder.frozen:
            raise UserError("COLIPRI trains its text encoder, but this one is frozen", "Set text_encoder.frozen to false.")
        self.encoder = encoder
        self.dimension: int = encoder.model.config.hidden_size  # type: ignore[union-attr,assignment]
        self.pooler = AttentionPool1d(self.dimension, heads)

    @property
    def words(self) -> int:
        """Size of the vocabulary."""
        return int(self.encoder.model.get_input_embeddings().num_embeddings)  # type: ignore[operator]

    @property
    def tokeniser(self) -> Any:
        """The encoder's tokeniser."""
        return self.encoder.tokeniser

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Tokenise texts, cut to the encoder's longest and padded to the longest of them; on the CPU."""
        return self.encoder.tokenise(texts)

    def forward(self, tokens: Tokens) -> TextFeatures:
        """Encode tokenised texts, `batch text_features`; not normalised, and padding has no influence."""
        states = self.encoder(tokens, states=True)
        pooled: Tensor = self.pooler(states, tokens.mask)
        return pooled
