from __future__ import annotations

import itertools

import numpy as np
import pytest

from lingula.evaluation.ranking import (
    Ranked,
    by_relevance,
    chance_by_relevance,
    chance_of_first,
    first_right,
    ranked_columns,
    ranked_difference,
    ranked_from_columns,
    ranked_rows,
)


def test_rank_and_recall_without_ties() -> None:
    similarity = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.9]])
    right = np.array([[False, True, False], [True, True, False]])
    found = first_right(similarity, right, (1, 2))
    np.testing.assert_array_equal(found["median rank"], [2, 2])
    np.testing.assert_array_equal(found["recall@1"], [0, 0])
    np.testing.assert_array_equal(found["recall@2"], [1, 1])


def test_ties_count_as_the_mean_over_all_orders() -> None:
    similarity = np.array([[0.9, 0.5, 0.5, 0.5, 0.5, 0.1]])
    right = np.array([[False, True, False, True, False, False]])
    found = first_right(similarity, right, (1, 2, 3))
    ranks = [2 + min(order.index(0), order.index(1)) for order in itertools.permutations(range(4))]
    assert found["median rank"][0] == pytest.approx(np.mean(ranks))
    for k in (1, 2, 3):
        assert found[f"recall@{k}"][0] == pytest.approx(np.mean([rank <= k for rank in ranks]))


def test_a_collapsed_model_gets_exactly_chance() -> None:
    group = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    right = group[:, None] == group[None, :]
    found = first_right(np.zeros((8, 8)), right, (1, 5))
    chance = chance_of_first(right.sum(axis=1).astype(float), 8, (1, 5))
    assert found["recall@1"].mean() == pytest.approx(chance["recall@1"])
    assert found["recall@5"].mean() == pytest.approx(chance["recall@5"])


def test_chance_of_distinct_items_is_k_over_n() -> None:
    chance = chance_of_first(np.ones(1000), 1000, (1, 5, 10))
    assert chance["recall@1"] == pytest.approx(0.001)
    assert chance["recall@10"] == pytest.approx(0.01)
    assert chance["median rank"] == 500
    assert chance_of_first(np.ones(3), 3, (1, 10))["recall@10"] == 1.0


def test_by_relevance_equals_a_slow_reference_and_never_finds_what_is_not_allowed() -> None:
    rng = np.random.default_rng(0)
    similarity, relevant = rng.normal(size=(12, 12)), rng.random((12, 12)) < 0.3
    relevant[np.arange(12), (np.arange(12) + 1) % 12] = True
    allowed = ~np.eye(12, dtype=bool)
    similarity[np.eye(12, dtype=bool)] = 99
    found = by_relevance(similarity, relevant | np.eye(12, dtype=bool), allowed, (1, 3), np.arange(12))
    for i in range(12):
        order = [j for j in np.argsort(-similarity[i]) if j != i]
        hits = relevant[i, order]
        assert found["precision@3"][i] == pytest.approx(hits[:3].mean())
        assert found["recall@1"][i] == hits[0]
        precisions = [hits[: r + 1].mean() for r in np.flatnonzero(hits)]
        assert found["mAP"][i] == pytest.approx(np.mean(precisions))


def test_chance_by_relevance_equals_the_mean_over_random_orders() -> None:
    rng = np.random.default_rng(1)
    relevant = np.zeros((1, 9), bool)
    relevant[0, :3] = True
    allowed = np.ones((1, 9), bool)
    draws = [by_relevance(rng.random((1, 9)), relevant, allowed, (2,), np.arange(9)) for _ in range(6000)]
    chance = chance_by_relevance(np.array([3.0]), np.array([9.0]), (2,))
    for metric in ("precision@2", "recall@2", "mAP"):
        assert np.mean([draw[metric][0] for draw in draws]) == pytest.approx(chance[metric], abs=0.015)


def test_random_tie_breaking_keeps_sorted_galleries_at_chance() -> None:
    label = np.repeat([0, 1], 200)
    relevant = label[:, None] == label[None, :]
    allowed = ~np.eye(400, dtype=bool)
    order = np.random.default_rng(0).permutation(400)
    found = by_relevance(np.zeros((400, 400)), relevant & allowed, allowed, (50,), order)
    assert found["precision@50"].mean() == pytest.approx(0.5, abs=0.08)


def test_rows_and_differences_survive_the_long_table() -> None:
    values = {"recall@1": np.array([1.0, 0.0, 1.0]), "median rank": np.array([1.0, 7.0, 1.0])}
    ranked = Ranked(["a", "b", "c"], ["p", "q", "q"], values, {"recall@1": 0.1})
    back = ranked_from_columns({key: np.asarray(value) for key, value in ranked_columns(ranked, "x").items()})
    assert back.row_ids == ranked.row_ids
    assert back.patients == ranked.patients
    np.testing.assert_array_equal(back.values["median rank"], values["median rank"])
    rows = ranked_rows(ranked, 100, 0, "x")
    assert rows[0].value == pytest.approx(2 / 3)
    assert rows[0].chance == 0.1
    assert rows[1].value == 1
    assert all(row.value == row.low == row.high == 0 for row in ranked_difference(ranked, back, 50, 0, "x"))
