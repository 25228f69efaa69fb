"""A report decoder run word by word: what earlier words and the image give is kept, so that each step costs one word."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.errors import UserError
from lingula.core.types import VolumeTokens
from lingula.models.report_decoder import ReportDecoder

Heads = Float[Tensor, "batch heads places width"]


class ReportSteps:
    """Reports in the making, one per row; in evaluation mode, without gradients.

    The logits are those of `ReportDecoder.forward` on the whole of each report.

    Args:
        decoder: Its blocks are `nn.TransformerDecoderLayer`, norm first.
        image: `batch image_tokens image_features`.
    """

    def __init__(self, decoder: ReportDecoder, image: VolumeTokens) -> None:
        self.decoder, self.length = decoder.eval(), 0
        self._blocks = [cast(nn.TransformerDecoderLayer, block) for block in decoder.blocks]
        with torch.inference_mode():
            memory = decoder.image_norm(decoder.image(image))
            self._image = [_keys_and_values(block.multihead_attn, memory) for block in self._blocks]
        self._past: list[tuple[Heads, Heads] | None] = [None for _ in self._blocks]

    def step(self, ids: Int[Tensor, " batch"]) -> Float[Tensor, "batch words"]:
        """Take one more token of each report and return the logits of the next.

        Raises:
            UserError: The reports are longer than the decoder has places.
        """
        if self.length >= self.decoder.config.max_tokens:
            problem = f"a report of more than {self.decoder.config.max_tokens} tokens, where the decoder has no more places"
            raise UserError(problem, "Ask for shorter ones.")
        with torch.inference_mode():
            states = (self.decoder.words(ids) + self.decoder.places.weight[self.length])[:, None]
            for number, block in enumerate(self._blocks):
                states = self._through(number, block, states)
            self.length += 1
            return functional.linear(self.decoder.norm(states[:, 0]), self.decoder.words.weight)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Go on with some of the reports, in this order; one may come several times."""
        self._image = [(keys[rows], values[rows]) for keys, values in self._image]
        self._past = [None if past is None else (past[0][rows], past[1][rows]) for past in self._past]

    def _through(self, number: int, block: nn.TransformerDecoderLayer, states: Tensor) -> Tensor:
        """Run one block on the newest token of each report."""
        normed = block.norm1(states)
        keys, values = _keys_and_values(block.self_attn, normed)
        past = self._past[number]
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        self._past[number] = keys, values
        states = states + _attend(block.self_attn, normed, keys, values)
        states = states + _attend(block.multihead_attn, block.norm2(states), *self._image[number])
        hidden = functional.gelu(block.linear1(block.norm3(states)))
        added: Tensor = block.linear2(hidden)
        return states + added


def _keys_and_values(attention: nn.MultiheadAttention, states: Tensor) -> tuple[Heads, Heads]:
    _, key, value = attention.in_proj_weight.chunk(3)
    _, key_bias, value_bias = attention.in_proj_bias.chunk(3)
    projected = functional.linear(states, key, key_bias), functional.linear(states, value, value_bias)
    keys, values = (_by_head(attention, each) for each in projected)
    return keys, values


def _by_head(attention: nn.MultiheadAttention, states: Tensor) -> Heads:
    return states.reshape(*states.shape[:2], attention.num_heads, -1).transpose(1, 2)


def _attend(attention: nn.MultiheadAttention, states: Tensor, keys: Heads, values: Heads) -> Tensor:
    query = functional.linear(states, attention.in_proj_weight.chunk(3)[0], attention.in_proj_bias.chunk(3)[0])
    seen = functional.scaled_dot_product_attention(_by_head(attention, query), keys, values)
    out: Tensor = attention.out_proj(seen.transpose(1, 2).flatten(2))
    return out
