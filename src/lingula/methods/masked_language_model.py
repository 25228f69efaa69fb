"""Masked language modelling (Devlin et al. 2019, arXiv 1810.04805): hide tokens and predict them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lingula.core.precision import multiplies_fast_in_bf16
from lingula.methods.text_descent import Note, descend
from lingula.methods.tokeniser import MASK, SPECIAL
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder

IGNORED = -100


def mask_tokens(ids: Tensor, vocabulary: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hide tokens: of those chosen, 80 % become [MASK], 10 % a random token, 10 % stay.

    Args:
        ids: `batch tokens`; special tokens are never chosen.
        vocabulary: Number of word pieces.
        share: Share of the tokens that is chosen.
        generator: Source of randomness.

    Returns:
        The masked ids, and the targets with -100 where nothing is asked, both `batch tokens`.
    """
    chosen = (torch.rand(ids.shape, generator=generator) < share) & (ids >= len(SPECIAL))
    fate = torch.rand(ids.shape, generator=generator)
    noise = torch.randint(len(SPECIAL), max(vocabulary, len(SPECIAL) + 1), ids.shape, generator=generator)
    masked = torch.where(chosen & (fate < 0.8), torch.full_like(ids, MASK), ids)
    masked = torch.where(chosen & (fate >= 0.9), noise, masked)
    return masked, torch.where(chosen, ids, torch.full_like(ids, IGNORED))


def train_masked(
    model: Any,
    encoder: TextEncoder,
    ids: Sequence[Sequence[int]],
    config: SmallLanguageModelConfig,
    seed: int,
    progress: bool,
    note: Note,
) -> None:
    """Train a BERT with its masked-language-modelling head; word embeddings stay as they are.

    Args:
        model: The BERT with its head.
        encoder: The same BERT as a text encoder; pads.
        ids: Token numbers of each text.
        config: Steps, batch, learning rate, share of hidden tokens.
        seed: Decides order, positions and masks.
        progress: Show a progress bar.
        note: Told the loss of every step.
    """
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(True).train()
    model.bert.embeddings.word_embeddings.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fast = multiplies_fast_in_bf16(encoder.device)
    batches = token_batches([len(row) for row in ids], config.batch_tokens, seed)

    def loss_of_next() -> Tensor:
        tokens = encoder.pad([ids[row] for row in next(batches)])
        masked, targets = mask_tokens(tokens.ids, model.config.vocab_size, config.masked_share, generator)
        offset = int(torch.randint(config.max_tokens - masked.shape[1] + 1, (), generator=generator))
        positions = torch.arange(offset, offset + masked.shape[1])[None]
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            hidden = model.bert(input_ids=masked, attention_mask=tokens.mask.long(), position_ids=positions)[0]
            asked = targets != IGNORED
            logits = model.cls(hidden[asked])
        return cross_entropy(logits.float(), targets[asked], reduction="sum") / asked.sum().clamp_min(1)

    title = "Masked language modelling"
    descend(title, loss_of_next, trained, config.learning_rate, config.steps, "masked_loss", progress, note)


def token_batches(lengths: Sequence[int], batch_tokens: int, seed: int) -> Iterator[list[int]]:
    """Yield rows for ever, epoch after epoch, in batches of similar length that hold about `batch_tokens` with padding."""
    generator = np.random.default_rng(seed)
    while True:
        noisy = np.asarray(lengths) * generator.uniform(0.9, 1.1, len(lengths))
        batches: list[list[int]] = [[]]
        longest = 0
        for row in np.argsort(noisy, kind="stable").tolist():
            longest = max(longest, lengths[row])
            if batches[-1] and longest * (len(batches[-1]) + 1) > batch_tokens:
                batches.append([])
                longest = lengths[row]
            batches[-1].append(row)
        for position in generator.permutation(len(batches)).tolist():
            yield batches[position]
