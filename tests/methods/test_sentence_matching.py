"""The sentence-level objective: its loss against a slow one, its batches, and that words of paired texts come together."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from lingula.core.errors import UserError
from lingula.methods.sentence_matching import Pairs, TextPair, matching_loss, train_words
from lingula.models.text_config import SmallLanguageModelConfig


def slow_loss(first: np.ndarray, second: np.ndarray, same: np.ndarray, temperature: float) -> float:
    def direction(a: np.ndarray, b: np.ndarray) -> float:
        total = 0.0
        for i in range(len(a)):
            scores = [float(a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j])) / temperature for j in range(len(b))]
            allowed = [score for j, score in enumerate(scores) if j == i or not same[i, j]]
            total += math.log(sum(map(math.exp, allowed))) - scores[i]
        return total / len(a)

    return (direction(first, second) + direction(second, first)) / 2


def test_the_loss_is_infonce_of_both_directions_without_texts_of_the_same_report() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 6, 5))
    same = np.zeros((6, 6), bool)
    same[1, 4] = same[4, 1] = True
    np.fill_diagonal(same, True)
    for temperature in (0.05, 1.0):
        found = matching_loss(torch.tensor(first), torch.tensor(second), torch.tensor(same), temperature)
        assert float(found) == pytest.approx(slow_loss(first, second, same, temperature), rel=1e-9)


def test_texts_that_are_all_alike_lose_the_logarithm_of_how_many_there_are() -> None:
    ones = torch.ones(8, 3)
    assert float(matching_loss(ones, ones, torch.eye(8, dtype=torch.bool), 0.1)) == pytest.approx(math.log(8), rel=1e-5)


def numbers(texts: list[str]) -> list[list[int]]:
    return [[2, *(5 + int(word) for word in text.split()), 3] for text in texts]


def test_an_epoch_has_every_report_once_and_marks_texts_that_are_shared() -> None:
    pairs = [TextPair(f"{report} {cut}", "90", report) for report in range(12) for cut in range(3)]
    batches = Pairs(pairs, numbers, 96).batches(4, seed=0)
    epoch = [next(batches) for _ in range(3)]
    assert sorted(row[1] - 5 for first, _, _ in epoch for row in first) == list(range(12))
    assert all(same.all() for *_, same in epoch)
    distinct = [TextPair(str(report), str(20 + report), report) for report in range(12)]
    *_, same = next(Pairs(distinct, numbers, 96).batches(4, seed=0))
    assert torch.equal(same, torch.eye(4, dtype=torch.bool))


def test_long_texts_are_cut_but_end_with_the_separator() -> None:
    pairs = [TextPair("1 2 3 4 5 6", "7", 0), TextPair("8", "9", 1)]
    assert Pairs(pairs, numbers, 4).ids[0] == [2, 6, 7, 3]


def test_pairs_of_one_report_are_not_enough() -> None:
    with pytest.raises(UserError, match="at least two reports"):
        Pairs([TextPair("1", "2", 0), TextPair("2", "3", 0)], numbers, 96)


def test_words_that_meet_in_pairs_come_together_and_words_in_every_text_lose_weight() -> None:
    names = range(10)
    pairs = [TextPair(f"{a} {b} 40", f"{20 + a} {20 + b} 40", n) for n, (a, b) in enumerate(itertools.combinations(names, 2))]
    generator = torch.Generator().manual_seed(0)
    start = torch.nn.functional.normalize(torch.randn(50, 16, generator=generator), dim=1)
    weights = torch.ones(50)
    weights[:5] = 0
    config = SmallLanguageModelConfig(word_steps=200, sentence_pairs=16, word_learning_rate=0.02, temperature=0.2)
    words, learned = train_words(start, weights, Pairs(pairs, numbers, 96), config, 0, False, lambda step, values: None)
    similarity = words[5:15] @ words[25:35].T
    assert similarity.argmax(dim=1).tolist() == list(names)
    before = start[5:15] @ start[25:35].T
    assert before.argmax(dim=1).tolist() != list(names)
    torch.testing.assert_close(words.norm(dim=1), torch.ones(50))
    assert not learned[:5].any()
    assert float(learned[45]) < 0.7 * float(learned[5:15].mean())
