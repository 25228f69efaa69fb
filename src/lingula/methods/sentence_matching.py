"""A sentence-level objective: two texts of one report are found among those of other reports by contrast.

Masked language modelling trains tokens; nothing asks that the vector of a whole text tell it from others. Pairs are findings
and impression of one report, two halves of it, or the same text twice under different dropout (Gao et al. 2021, SimCSE,
arXiv 2104.08821). The loss is InfoNCE in both directions (van den Oord et al. 2018, arXiv 1807.03748).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding_bag, normalize

from lingula.core.errors import UserError
from lingula.core.precision import multiplies_fast_in_bf16
from lingula.methods.text_descent import Note, descend
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder


class TextPair(NamedTuple):
    """Two texts that say the same of one report.

    Args:
        first: A text.
        second: Another, or the same one.
        report: Number of the report; texts of one report never count against each other.
    """

    first: str
    second: str
    report: int


def matching_loss(
    first: Float[Tensor, "pairs features"],
    second: Float[Tensor, "pairs features"],
    same: Bool[Tensor, "pairs pairs"],
    temperature: float,
) -> Tensor:
    """Return InfoNCE over cosines, the mean of both directions.

    L = -1/2n Σᵢ [log exp(sᵢᵢ/τ) / Σⱼ exp(sᵢⱼ/τ) + log exp(sᵢᵢ/τ) / Σⱼ exp(sⱼᵢ/τ)], without the j ≠ i that `same` marks.

    Args:
        first: One text of each pair.
        second: The other.
        same: Where a text of another pair is no wrong answer (the same report, or the same words).
        temperature: τ.
    """
    logits = normalize(first, dim=-1) @ normalize(second, dim=-1).T / temperature
    ignored = same & ~torch.eye(len(same), dtype=torch.bool)
    logits = logits.masked_fill(ignored, float("-inf"))
    right = torch.arange(len(logits))
    return (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2


class Pairs:
    """Pairs as token numbers, and the order in which they are trained.

    Args:
        pairs: Texts that belong together.
        token_ids: Gives the token numbers of texts.
        longest: What is longer is cut, the separator at the end kept.

    Raises:
        UserError: The pairs are of fewer than two reports.
    """

    def __init__(self, pairs: Sequence[TextPair], token_ids: Callable[[Sequence[str]], list[list[int]]], longest: int) -> None:
        reports = len({pair.report for pair in pairs})
        if reports < 2:
            raise UserError(f"the sentence-level objective needs at least two reports, there are {reports}", "Add reports.")
        numbers = {text: number for number, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair[:2]))}
        ids = token_ids(list(numbers))
        self.ids = [row if len(row) <= longest else [*row[: longest - 1], row[-1]] for row in ids]
        self.table = np.array([[numbers[pair.first], numbers[pair.second], pair.report] for pair in pairs])

    def batches(self, size: int, seed: int) -> Iterator[tuple[list[list[int]], list[list[int]], Tensor]]:
        """Yield for ever the token numbers of both sides, and which pairs share a report or a text, `pairs pairs`.

        In an epoch each report appears once, with one of its pairs, drawn anew. Pairs of a batch have similar lengths: little
        padding, and wrong answers that length alone does not give away.
        """
        generator = np.random.default_rng(seed)
        lengths = np.array([len(self.ids[first]) + len(self.ids[second]) for first, second, _ in self.table])
        size = min(size, len(np.unique(self.table[:, 2])))
        while True:
            order = generator.permutation(len(self.table))
            _, first = np.unique(self.table[order, 2], return_index=True)
            epoch = generator.permutation(order[first])
            epoch = epoch[: len(epoch) // size * size]
            noisy = lengths[epoch] * generator.uniform(0.7, 1.4, len(epoch))
            batches = epoch[np.argsort(noisy, kind="stable")].reshape(-1, size)
            for rows in generator.permutation(batches):
                chosen = self.table[rows]
                same = torch.from_numpy((chosen[:, None] == chosen[None]).any(axis=-1))
                yield [self.ids[text] for text in chosen[:, 0]], [self.ids[text] for text in chosen[:, 1]], same


def train_words(
    embeddings: Float[Tensor, "vocabulary features"],
    weights: Float[Tensor, " vocabulary"],
    pairs: Pairs,
    config: SmallLanguageModelConfig,
    seed: int,
    progress: bool,
    note: Note,
) -> tuple[Tensor, Tensor]:
    """Train word embeddings and token weights alone, without a transformer: seconds where the whole model takes minutes.

    A text is Σₜ wₜ eₜ over its tokens.

    Args:
        embeddings: What to start from.
        weights: What to start from; tokens of weight 0 stay out.
        pairs: Texts that belong together.
        config: Steps, pairs per step, learning rate, temperature, share of tokens left out at random.
        seed: Decides the order, and what is left out.
        progress: Show a progress bar.
        note: Told the loss of every step.

    Returns:
        Embeddings of unit length, and weights that hold the lengths.
    """
    known = weights > 0
    trained = [nn.Parameter(embeddings.clone()), nn.Parameter(weights.clamp_min(1e-6).log())]
    generator = torch.Generator().manual_seed(seed)

    def encode(rows: list[list[int]]) -> Tensor:
        flat = torch.tensor([number for row in rows for number in row])
        starts = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        kept = known[flat] & (torch.rand(len(flat), generator=generator) >= config.word_dropout)
        return embedding_bag(flat, trained[0], starts, mode="sum", per_sample_weights=trained[1].exp()[flat] * kept)

    batches = pairs.batches(config.sentence_pairs, seed)

    def loss_of_next() -> Tensor:
        first, second, same = next(batches)
        return matching_loss(encode(first), encode(second), same, config.temperature)

    rate, steps = config.word_learning_rate, config.word_steps
    descend("Matching texts by their words", loss_of_next, trained, rate, steps, "word_loss", progress, note, clip_norm=None)
    with torch.no_grad():
        lengths = trained[0].norm(dim=1)
        return normalize(trained[0], dim=1), torch.where(known, trained[1].exp() * lengths, 0.0)


def train_matching(
    encoder: TextEncoder, pairs: Pairs, config: SmallLanguageModelConfig, seed: int, progress: bool, note: Note
) -> None:
    """Train the transformer so that the two texts of a pair find each other; word embeddings and statistics stay.

    Args:
        encoder: With standardised pooling.
        pairs: Texts that belong together.
        config: Steps, pairs per step, learning rate, temperature, dropout.
        seed: Decides order and dropout.
        progress: Show a progress bar.
        note: Told the loss of every step.
    """
    encoder.model.requires_grad_(True)
    encoder.model.embeddings.requires_grad_(False)
    trained = [parameter for parameter in encoder.model.parameters() if parameter.requires_grad]
    batches = pairs.batches(config.sentence_pairs, seed)
    fast = multiplies_fast_in_bf16(encoder.device)
    encoder.frozen = False
    _set_dropout(encoder.model, config.dropout)
    encoder.train()

    def loss_of_next() -> Tensor:
        *sides, same = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            first, second = (encoder(encoder.pad(side)).float() for side in sides)
        return matching_loss(first, second, same, config.temperature)

    rate, steps = config.sentence_learning_rate, config.sentence_steps
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        descend("Matching texts", loss_of_next, trained, rate, steps, "matching_loss", progress, note)
    _set_dropout(encoder.model, 0.0)
    encoder.frozen = True
    encoder.requires_grad_(False).eval()


def _set_dropout(model: nn.Module, share: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
