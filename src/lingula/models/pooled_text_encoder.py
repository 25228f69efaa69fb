"""A BERT-class text encoder with attention pooling that honours the mask, with colipri's state-dict names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.errors import UserError
from lingula.core.types import TokenIds
from lingula.models.attention_pool_1d import AttentionPool1d
from lingula.models.pooled_text_config import BertSizes
from lingula.models.quiet import quiet_transformers


class PooledTextEncoder(nn.Module):
    """A BERT (`backbone`) whose last hidden states are pooled by their mean's attention (`pooler`); no projection behind it.

    Args:
        sizes: Of the BERT.
        heads: Attention heads of the pooling.
    """

    def __init__(self, sizes: BertSizes, heads: int) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        self.sizes = sizes
        with quiet_transformers():
            self.backbone: nn.Module = BertModel(BertConfig(**sizes.model_dump()), add_pooling_layer=False)
        self.pooler = AttentionPool1d(sizes.hidden_size, heads)

    def forward(
        self, token_ids: TokenIds, attention_mask: Tensor | None = None, pool: bool = True, normalize: bool = True
    ) -> Float[Tensor, "batch features"] | Float[Tensor, "batch tokens features"]:
        """Encode texts; see `lingula.exchange.Colipri.encode_text`.

        Raises:
            UserError: Token numbers outside the vocabulary, texts longer than there are positions, a mask that does not fit or
                that masks a whole text.
        """
        self._check(token_ids)
        if pool and attention_mask is not None and not attention_mask.any(dim=-1).all():
            raise UserError("a text has no token that is not masked", "Leave empty texts out.")
        hidden: Tensor = self.backbone(token_ids, attention_mask=attention_mask).last_hidden_state
        if pool:
            hidden = self.pooler(hidden, attention_mask)
        return functional.normalize(hidden, dim=1) if normalize else hidden

    def restore_counters(self) -> None:
        """Make the BERT's constant buffers, which no weights file holds, anew on the CPU: after building it on `meta`."""
        places = torch.arange(self.sizes.max_position_embeddings)[None]
        embeddings: nn.Module = self.backbone.embeddings  # type: ignore[assignment]
        embeddings.register_buffer("position_ids", places, persistent=False)
        embeddings.register_buffer("token_type_ids", torch.zeros_like(places), persistent=False)

    def _check(self, token_ids: TokenIds) -> None:
        if token_ids.ndim != 2 or token_ids.numel() == 0 or token_ids.is_floating_point():
            problem = f"token ids must be whole numbers, `batch tokens`, not {tuple(token_ids.shape)} of {token_ids.dtype}"
            raise UserError(problem, "Give what the tokeniser returns as input_ids, as one tensor.")
        if token_ids.shape[1] > self.sizes.max_position_embeddings:
            problem = (
                f"texts of {token_ids.shape[1]} tokens, where the encoder has {self.sizes.max_position_embeddings} positions"
            )
            raise UserError(problem, "Cut them when they are tokenised.")
        if int(token_ids.min()) < 0 or int(token_ids.max()) >= self.sizes.vocab_size:
            problem = f"token ids up to {int(token_ids.max())}, where the vocabulary has {self.sizes.vocab_size} word pieces"
            raise UserError(problem, "Use the tokeniser that the encoder was trained with.")
