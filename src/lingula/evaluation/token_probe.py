"""Linear classifiers on the pooled tokens of a frozen encoder: all poolings and learning rates trained at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.progress import ProgressBar
from lingula.evaluation.arrays import EncodedTokens, ImageScores, ImageTargets
from lingula.evaluation.token_probe_config import Pooling, TokenProbeConfig

QUERIES = {"query": 1, "4-queries": 4}
"""Learned queries of a pooling."""
SPREAD = 0.02
"""Of the learned queries at the start; ours."""
READ_AT_ONCE = 2**28
"""Bytes of tokens that are scored at once, unless one image has more."""

Tokens = Float[Tensor, "images tokens features"]
Pooled = Float[Tensor, "images features"]


class TokenHead(nn.Module):
    """One pooling and one linear classifier.

    Attention has one head, and keys and values are the tokens themselves: softmax(q·t / √features), as in COLIPRI's probes
    (arXiv 2510.15042, Table 7, as quoted by a third party); how its queries start is not known.

    Args:
        pooling: How tokens become one vector.
        features: Of a token.
        findings: Classifiers.
    """

    def __init__(self, pooling: Pooling, features: int, findings: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.queries = nn.Parameter(torch.randn(QUERIES.get(pooling, 0), features) * SPREAD)
        self.linear = nn.Linear(features, findings)

    def pooled(self, tokens: Tokens) -> Pooled:
        """One vector per image; without learned queries it is the same for every head of this pooling."""
        if self.pooling == "average":
            return tokens.mean(dim=1)
        if self.pooling == "max":
            return tokens.amax(dim=1)
        queries = (
            tokens.mean(dim=1, keepdim=True) if self.pooling == "average-query" else self.queries.expand(len(tokens), -1, -1)
        )
        return functional.scaled_dot_product_attention(queries, tokens, tokens).mean(dim=1)

    def forward(self, pooled: Pooled) -> Float[Tensor, "images findings"]:
        """Log-odds of what `pooled` gives."""
        logits: Tensor = self.linear(pooled)
        return logits


Key: TypeAlias = tuple[Pooling, float]
"""A pooling and a learning rate."""
Heads: TypeAlias = dict[Key, TokenHead]


def train_heads(
    tokens: EncodedTokens, rows: np.ndarray, targets: ImageTargets, config: TokenProbeConfig, seed: int, label: str
) -> Heads:
    """Train one head for each pooling and rate on the same batches; the sum of their losses trains each alone.

    The loss is the mean binary cross-entropy of the known targets, the optimiser stochastic gradient descent with momentum.

    Args:
        tokens: On disk, of all rows of the store.
        rows: Which of them to learn from.
        targets: Of these rows; NaN where unknown.
        config: Poolings, rates, steps.
        seed: Of the start and of the batches.
        label: What the progress bar says.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = tokens.shape[2], targets.shape[1]
        heads = {(pooling, rate): TokenHead(pooling, *sizes) for rate in config.rates for pooling in config.poolings}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for head in heads.values():
        head.to(device)
    groups = [{"params": list(head.parameters()), "lr": rate} for (_, rate), head in heads.items()]
    optimiser = torch.optim.SGD(groups, momentum=config.momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    known = torch.from_numpy(~np.isnan(targets)).to(device)
    truth = torch.from_numpy(np.nan_to_num(targets).astype(np.float32)).to(device)
    with ProgressBar(label, config.steps) as bar:
        for batch in _batches(len(rows), config, seed):
            right, counted = truth[batch], known[batch]
            said = _log_odds(heads, _read(tokens, rows[batch]).to(device))
            losses = [functional.binary_cross_entropy_with_logits(each[counted], right[counted]) for each in said.values()]
            if counted.any():
                optimiser.zero_grad()
                torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            schedule.step()
            bar.advance(1)
    return heads


def score_heads(heads: Heads, tokens: EncodedTokens, rows: np.ndarray) -> dict[Key, ImageScores]:
    """Return the log-odds that each head gives some rows, whose tokens are read once."""
    parts: dict[Key, list[ImageScores]] = {key: [] for key in heads}
    device = next(iter(heads.values())).linear.weight.device
    some = max(READ_AT_ONCE // (4 * tokens.shape[1] * tokens.shape[2]), 1)
    with torch.inference_mode():
        for start in range(0, len(rows), some):
            for key, said in _log_odds(heads, _read(tokens, rows[start : start + some]).to(device)).items():
                parts[key].append(said.cpu().numpy())
    return {key: np.concatenate(each) for key, each in parts.items()}


def _log_odds(heads: Heads, tokens: Tokens) -> dict[Key, Tensor]:
    """Ask all heads; what heads without learned queries pool is computed once for all rates."""
    shared: dict[Pooling, Pooled] = {}
    said = {}
    for (pooling, rate), head in heads.items():
        if pooling in QUERIES or pooling not in shared:
            shared[pooling] = head.pooled(tokens)
        said[pooling, rate] = head(shared[pooling])
    return said


def _batches(images: int, config: TokenProbeConfig, seed: int) -> Iterator[np.ndarray]:
    """Draw each image once before any is drawn again; a batch may straddle two rounds."""
    random, waiting = np.random.default_rng(seed), np.empty(0, np.int64)
    for _ in range(config.steps):
        while len(waiting) < config.batch:
            waiting = np.concatenate([waiting, random.permutation(images)])
        yield waiting[: config.batch]
        waiting = waiting[config.batch :]


def _read(tokens: EncodedTokens, rows: np.ndarray) -> Tokens:
    return torch.from_numpy(np.asarray(tokens[rows], np.float32))
