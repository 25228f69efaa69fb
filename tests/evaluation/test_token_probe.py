"""Probes on tokens: each pooling against its formula, training against a slow one in float64, and what only some can see."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lingula.core.errors import UserError
from lingula.evaluation import token_probe
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.evaluate import evaluate
from lingula.evaluation.token_probe import TokenHead, _batches, score_heads, train_heads
from lingula.evaluation.token_probe_config import Pooling, TokenProbeConfig

IMAGES, TOKENS, FEATURES = 120, 5, 4


def draw(seed: int, images: int = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Tokens whose first feature is twice as large as usual, up in one token and down in another, where the finding is."""
    random = np.random.default_rng(seed)
    tokens = random.normal(0, 0.3, (images, TOKENS, FEATURES)).astype(np.float16)
    present = random.random(images) < 0.4
    for image in np.flatnonzero(present):
        up, down = random.permutation(TOKENS)[:2]
        tokens[image, up, 0] += 2
        tokens[image, down, 0] -= 2
    return tokens, present[:, None].astype(np.float64)


@pytest.mark.parametrize("pooling", ["average", "max", "average-query", "query", "4-queries"])
def test_each_pooling_is_its_formula(pooling: Pooling) -> None:
    torch.manual_seed(1)
    head = TokenHead(pooling, FEATURES, 2)
    tokens = torch.randn(3, TOKENS, FEATURES)
    found = head.pooled(tokens).detach().numpy()
    for image, each in enumerate(tokens.double().numpy()):
        queries = head.queries.detach().double().numpy()
        if pooling == "average-query":
            queries = each.mean(axis=0, keepdims=True)
        if pooling in ("average", "max"):
            expected = each.mean(axis=0) if pooling == "average" else each.max(axis=0)
        else:
            weights = np.exp(queries @ each.T / math.sqrt(FEATURES))
            expected = (weights / weights.sum(axis=1, keepdims=True) @ each).mean(axis=0)
        np.testing.assert_allclose(found[image], expected, atol=1e-6)
    assert len(head.queries) == {"query": 1, "4-queries": 4}.get(pooling, 0)


def test_heads_that_are_trained_together_are_trained_as_if_alone() -> None:
    """Momentum and half a cosine by hand on the average, with an unknown target and two other heads beside it."""
    tokens, targets = draw(0)
    targets[7] = np.nan
    rows = np.arange(IMAGES)
    config = TokenProbeConfig(poolings=("max", "average", "query"), rates=(1e-30,), steps=30, batch=16)
    start = train_heads(tokens, rows, targets, config, 3, "")[("average", 1e-30)].linear
    ended = train_heads(tokens, rows, targets, config.model_copy(update={"rates": (0.1,)}), 3, "")[("average", 0.1)].linear
    weight, bias = (each.detach().double().numpy().copy() for each in (start.weight[0], start.bias))
    inputs, speed = tokens.astype(np.float64).mean(axis=1), np.zeros(FEATURES + 1)
    for step, batch in enumerate(_batches(IMAGES, config, 3)):
        used = batch[~np.isnan(targets[batch, 0])]
        error = 1 / (1 + np.exp(-(inputs[used] @ weight + bias[0]))) - targets[used, 0]
        gradient = np.append((error[:, None] * inputs[used]).mean(axis=0), error.mean())
        speed = config.momentum * speed + gradient
        rate = 0.1 * (1 + math.cos(math.pi * step / config.steps)) / 2
        weight, bias = weight - rate * speed[:-1], bias - rate * speed[-1]
    np.testing.assert_allclose(ended.weight[0].detach().numpy(), weight, atol=1e-4)
    np.testing.assert_allclose(ended.bias.detach().numpy(), bias, atol=1e-4)


def test_batches_draw_every_image_before_any_again() -> None:
    drawn = np.concatenate(list(_batches(10, TokenProbeConfig(steps=7, batch=4), 0)))
    assert len(drawn) == 28
    for start in (0, 10):
        assert sorted(drawn[start : start + 10]) == list(range(10))


def test_what_cancels_in_the_average_is_seen_by_maximum_and_attention() -> None:
    tokens, targets = draw(0, 400)
    config = TokenProbeConfig(rates=(0.1,), steps=400)
    heads = train_heads(tokens, np.arange(300), targets[:300], config, 0, "")
    unseen, truth = np.arange(300, 400), targets[300:, 0] == 1
    right = {}
    for (pooling, _), each in score_heads(heads, tokens, unseen).items():
        scores = each[:, 0]
        right[pooling] = float((scores[truth][:, None] > scores[~truth][None]).mean())
    assert right["average"] < 0.75
    assert min(right["max"], right["4-queries"]) > 0.95, right


def test_a_model_without_tokens_is_refused(store: Any, encoder: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gives no tokens.*Run --task probe"):
        evaluate(encoder, store, EvaluateConfig(store=Path("x"), task=("token-probe",)), tmp_path)


def test_what_needs_no_learning_is_pooled_once_for_all_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """And in blocks that fit in memory, whatever their size, the scores are the same."""
    tokens, targets = draw(0)
    config = TokenProbeConfig(rates=(0.1, 0.01), steps=2, batch=16)
    heads = train_heads(tokens, np.arange(IMAGES), targets, config, 0, "")
    whole = score_heads(heads, tokens, np.arange(IMAGES))
    calls: list[str] = []
    pooled = TokenHead.pooled
    monkeypatch.setattr(TokenHead, "pooled", lambda self, seen: (calls.append(self.pooling), pooled(self, seen))[1])
    monkeypatch.setattr(token_probe, "READ_AT_ONCE", 4 * TOKENS * FEATURES * 50)
    found = score_heads(heads, tokens, np.arange(IMAGES))
    assert Counter(calls) == {"average": 3, "max": 3, "average-query": 3, "query": 6, "4-queries": 6}, "three blocks"
    for key, scores in whole.items():
        np.testing.assert_allclose(found[key], scores, atol=1e-6)
