"""A causal transformer decoder that writes a report while looking at the tokens of a volume."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.errors import UserError
from lingula.core.types import TokenIds, VolumeTokens
from lingula.models.report_decoder_config import ReportDecoderConfig


class ReportDecoder(nn.Module):
    """Word and place embeddings, pre-norm blocks (causal self-attention, attention to the image, hidden layer), tied output.

    Args:
        config: Width, depth, heads, longest report.
        words: Size of the vocabulary.
        image_features: Features of the image tokens.
    """

    def __init__(self, config: ReportDecoderConfig, words: int, image_features: int) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(words, config.width)
        self.places = nn.Embedding(config.max_tokens, config.width)
        self.image = nn.Linear(image_features, config.width)
        self.image_norm = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(
            nn.TransformerDecoderLayer(
                config.width,
                config.heads,
                4 * config.width,
                config.dropout,
                functional.gelu,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: TokenIds, image: VolumeTokens) -> Float[Tensor, "batch tokens words"]:
        """Return the logits of the token that follows each token, given those up to it and the image.

        Args:
            ids: `batch tokens`; padding may stand behind the end, where nothing before it can see it.
            image: `batch image_tokens image_features`, in any order: places are already in them.

        Raises:
            UserError: The reports are longer than the decoder has places.
        """
        length = ids.shape[1]
        if length > self.config.max_tokens:
            problem = f"reports of {length} tokens, where the decoder has {self.config.max_tokens} places"
            raise UserError(problem, "Cut them when they are tokenised.")
        states = self.words(ids) + self.places.weight[:length]
        memory = self.image_norm(self.image(image))
        future = torch.ones(length, length, dtype=torch.bool, device=ids.device).triu(1)
        for block in self.blocks:
            states = block(states, memory, tgt_mask=future, tgt_is_causal=True)
        return functional.linear(self.norm(states), self.words.weight)
