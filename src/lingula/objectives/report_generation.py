"""Report generation as an objective: the next token of a report, given the true ones before it and the image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lingula.core.batch import Tokens
from lingula.objectives.precision import full_precision, no_autocast

NOT_COUNTED = -100
"""The target of padding, which costs nothing."""


def report_errors(
    logits: Float[Tensor, "batch tokens words"], report: Tokens, smoothing: float = 0.0
) -> tuple[Float[Tensor, batch], Float[Tensor, batch]]:
    """Sum of the cross-entropies of the tokens of each report, and how many they are.

    Logits at place t are compared with the token at t + 1; the first token (it begins every report) and padding are not
    predicted. The target has 1 - smoothing on the true word and smoothing spread evenly over all words (arXiv 1512.00567).

    Args:
        logits: `batch tokens words`, of teacher forcing with the tokens of `report`; those at the last place are not used.
        report: The true reports, padded behind their end.
        smoothing: Share of the target that is spread over all words.

    Returns:
        Sum and number of each report, `batch`; the objective is the sum over the batch of the first by that of the second.

    Raises:
        ValueError: The shapes do not fit, or the smoothing is no share.
    """
    if logits.ndim != 3 or logits.shape[:2] != report.ids.shape:
        raise ValueError(f"logits [batch, tokens, words] for tokens {tuple(report.ids.shape)} needed, got {tuple(logits.shape)}")
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing must be at least 0 and below 1, got {smoothing}")
    with no_autocast(logits):
        scores, counted = full_precision(logits[:, :-1]), report.mask[:, 1:]
        targets = torch.where(counted, report.ids[:, 1:], NOT_COUNTED)
        errors = functional.cross_entropy(
            scores.flatten(0, 1), targets.flatten(), ignore_index=NOT_COUNTED, reduction="none", label_smoothing=smoothing
        )
        return errors.view_as(targets).sum(dim=1), counted.sum(dim=1, dtype=scores.dtype)
