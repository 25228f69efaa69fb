"""Writing reports word by word: the likeliest word, a beam, or words drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lingula.core.types import VolumeTokens
from lingula.models.report_decoder import ReportDecoder
from lingula.models.report_steps import ReportSteps

Chooser: TypeAlias = Callable[[Tensor, int], Tensor]
"""From scores, `batch words`, and the number of the token to the chosen token of each report."""


@dataclass(frozen=True)
class ReportMarks:
    """What a decoder's tokens mean.

    Args:
        start: Begins every report.
        end: Ends it.
        never: Tokens that a report never holds: padding, the start itself, masks, unknown words.
        limit: Most tokens of a report, start and end included.
    """

    start: int
    end: int
    never: tuple[int, ...]
    limit: int


def write_greedy(decoder: ReportDecoder, image: VolumeTokens, marks: ReportMarks) -> list[list[int]]:
    """Take the likeliest next token until all reports have ended; of equal ones the first.

    Args:
        decoder: In evaluation mode.
        image: `batch image_tokens image_features`.
        marks: What its tokens mean.

    Returns:
        The tokens of each report, without start and end.
    """
    return _write(decoder, image, marks, lambda scores, _: scores.argmax(dim=1))


def write_sampled(
    decoder: ReportDecoder,
    image: VolumeTokens,
    marks: ReportMarks,
    temperature: float,
    top_p: float,
    draws: Float[np.ndarray, "batch tokens"],
) -> list[list[int]]:
    """Draw each next token among the likeliest that together have the probability `top_p`.

    Args:
        decoder: In evaluation mode.
        image: `batch image_tokens image_features`.
        marks: What its tokens mean.
        temperature: By what logits are divided; the smaller, the closer to `write_greedy`.
        top_p: Share of the probability that is drawn from (arXiv 1904.09751).
        draws: Numbers from [0, 1), one per report and token: the same ones give the same report.

    Returns:
        The tokens of each report, without start and end.
    """
    numbers = torch.from_numpy(np.asarray(draws, np.float64)).to(image.device)

    def choose(scores: Tensor, place: int) -> Tensor:
        chances, words = (scores.double() / temperature).softmax(dim=1).sort(dim=1, descending=True, stable=True)
        before = chances.cumsum(dim=1) - chances
        chances = torch.where(before < top_p, chances, 0.0)
        reached = chances.cumsum(dim=1)
        chosen = (reached <= numbers[:, place, None] * reached[:, -1:]).sum(dim=1, keepdim=True)
        return words.gather(1, chosen.clamp_max((before < top_p).sum(dim=1, keepdim=True) - 1))[:, 0]

    return _write(decoder, image, marks, choose)


def write_beam(
    decoder: ReportDecoder, image: VolumeTokens, marks: ReportMarks, beams: int, length_penalty: float = 1.0
) -> list[list[int]]:
    """Keep the `beams` likeliest reports; one that has ended keeps its place as long as its probability is among the highest.

    At the end, when all have ended or are as long as they may be, they are ranked by log probability / tokens ** length_penalty,
    the end being a token. One beam is `write_greedy`.

    Args:
        decoder: In evaluation mode.
        image: `batch image_tokens image_features`.
        marks: What its tokens mean.
        beams: Reports that are kept for each volume.
        length_penalty: 0: the likeliest; 1: the likeliest per token.

    Returns:
        The tokens of each report, without start and end.
    """
    batch = len(image)
    steps = ReportSteps(decoder, image.repeat_interleave(beams, dim=0))
    sums = image.new_full((batch, beams), -torch.inf, dtype=torch.float64)
    sums[:, 0] = 0
    written = torch.full((batch, beams, 1), marks.start, device=image.device)
    first = torch.arange(batch, device=image.device)[:, None] * beams
    for _ in range(marks.limit - 1):
        ended = (written[:, :, 1:] == marks.end).any(dim=2)
        if ended.all():
            break
        logits = _allowed(steps.step(written[:, :, -1].flatten()), marks)
        scores = logits.double().log_softmax(dim=1).reshape(batch, beams, -1)
        stays = torch.full_like(scores[0, 0], -torch.inf)
        stays[marks.end] = 0.0
        scores = torch.where(ended[:, :, None], stays, scores)
        sums, places = (sums[:, :, None] + scores).flatten(1).topk(beams, dim=1)
        parents, words = places // scores.shape[2], places % scores.shape[2]
        written = torch.cat([written.gather(1, parents[:, :, None].expand(-1, -1, written.shape[2])), words[:, :, None]], dim=2)
        steps.keep((first + parents).flatten())
    reports = [[_until_end(row, marks) for row in beam] for beam in written[:, :, 1:].tolist()]
    lengths = [[min(len(report) + 1, written.shape[2] - 1) for report in beam] for beam in reports]
    ranks = sums.cpu().numpy() / np.maximum(np.array(lengths, float), 1) ** length_penalty
    return [beam[int(best)] for beam, best in zip(reports, ranks.argmax(axis=1), strict=True)]


def _write(decoder: ReportDecoder, image: VolumeTokens, marks: ReportMarks, choose: Chooser) -> list[list[int]]:
    """Add the chosen token to every report until all have ended."""
    steps = ReportSteps(decoder, image)
    written = torch.full((len(image), 1), marks.start, device=image.device)
    for place in range(marks.limit - 1):
        chosen = choose(_allowed(steps.step(written[:, -1]), marks), place)
        written = torch.cat([written, chosen[:, None]], dim=1)
        if (written[:, 1:] == marks.end).any(dim=1).all():
            break
    return [_until_end(row, marks) for row in written[:, 1:].tolist()]


def _allowed(logits: Tensor, marks: ReportMarks) -> Tensor:
    logits = logits.clone()
    logits[:, list(marks.never)] = -torch.inf
    return logits


def _until_end(row: Sequence[int], marks: ReportMarks) -> list[int]:
    return list(row[: row.index(marks.end)]) if marks.end in row else list(row)
