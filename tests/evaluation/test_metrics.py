from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.evaluation.metrics import (
    auroc,
    average_precision,
    best_threshold,
    chance_average_precision,
    chance_recall,
    confusion_metrics,
    decision_metrics,
    ranking_metrics,
    weighted_median,
)

samples = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=2, max_size=40)


def slow_auroc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> float:
    above = total = 0.0
    for i, j in itertools.product(np.flatnonzero(positive), np.flatnonzero(~positive)):
        pair = weights[i] * weights[j]
        total += pair
        above += pair * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    return above / total if total else np.nan


@settings(max_examples=200, deadline=None)
@given(samples)
def test_weighted_ranking_metrics_equal_pairwise_definition_and_repeated_rows(rows: list[tuple[int, bool, int]]) -> None:
    from sklearn.metrics import average_precision_score

    scores, positive, weights = (
        np.array([r[0] for r in rows], float),
        np.array([r[1] for r in rows]),
        np.array([r[2] for r in rows]),
    )
    area, precision = ranking_metrics(scores, positive, np.stack([np.ones(len(rows)), weights.astype(float)]))
    for found, weight in zip(area, (np.ones(len(rows)), weights), strict=True):
        np.testing.assert_allclose(found, slow_auroc(scores, positive, weight), rtol=1e-12)
    repeated_scores, repeated = np.repeat(scores, weights), np.repeat(positive, weights)
    if repeated.any():
        np.testing.assert_allclose(precision[1], average_precision_score(repeated, repeated_scores), rtol=1e-12)
    else:
        assert np.isnan(precision[1])


def test_auroc_equals_sklearn_and_leaves_out_unknown_labels() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    scores, targets = np.round(rng.normal(size=500), 1), (rng.random(500) < 0.2).astype(float)
    targets[rng.random(500) < 0.3] = np.nan
    known = ~np.isnan(targets)
    assert auroc(scores, targets) == pytest.approx(roc_auc_score(targets[known], scores[known]), abs=1e-12)
    assert average_precision(scores, targets) == pytest.approx(average_precision_score(targets[known], scores[known]), abs=1e-12)


def test_one_class_is_undefined() -> None:
    assert np.isnan(auroc(np.arange(3.0), np.ones(3)))
    assert np.isnan(auroc(np.arange(3.0), np.full(3, np.nan)))
    assert np.isnan(best_threshold(np.arange(3.0), np.zeros(3)))
    assert all(
        np.isnan(v).all() for v in decision_metrics(np.array([True, False]), np.array([True, True]), np.ones((1, 2))).values()
    )


@settings(max_examples=100, deadline=None)
@given(samples)
def test_decision_metrics_equal_sklearn(rows: list[tuple[int, bool, int]]) -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef, recall_score

    scores, positive, weights = (np.array([r[i] for r in rows]) for i in range(3))
    decisions = scores > 3
    found = {k: v[0] for k, v in decision_metrics(decisions, positive, weights[None].astype(float)).items()}
    truth, said = np.repeat(positive, weights), np.repeat(decisions, weights)
    if truth.any() and not truth.all():
        assert found["F1"] == pytest.approx(f1_score(truth, said, zero_division=0))
        assert found["MCC"] == pytest.approx(matthews_corrcoef(truth, said))
        assert found["sensitivity"] == pytest.approx(recall_score(truth, said))
        assert found["specificity"] == pytest.approx(recall_score(~truth, ~said))
        assert found["balanced accuracy"] == pytest.approx(balanced_accuracy_score(truth, said))
    else:
        assert np.isnan(found["F1"])


@pytest.mark.parametrize("criterion", ["f1", "mcc"])
def test_threshold_is_the_best_of_all_possible_ones(criterion: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        targets = (rng.random(40) < 0.3).astype(float)
        targets[:2] = 0, 1
        scores = np.round(rng.normal(size=40) + targets, 1)
        name = "F1" if criterion == "f1" else "MCC"

        def quality(threshold: float, scores: np.ndarray = scores, targets: np.ndarray = targets, name: str = name) -> float:
            return float(decision_metrics(scores >= threshold, targets == 1, np.ones((1, 40)))[name][0])

        chosen = best_threshold(scores, targets, criterion)  # type: ignore[arg-type]
        assert quality(chosen) == pytest.approx(max(quality(t) for t in scores))
        assert chosen == scores.min() or chosen not in scores


def test_mcc_of_constant_decisions_is_zero() -> None:
    one, zero = np.array([3.0]), np.array([0.0])
    assert confusion_metrics(zero, zero, one, one)["MCC"][0] == 0
    assert confusion_metrics(one, one, zero, zero)["MCC"][0] == 0


def test_chance_average_precision_equals_the_mean_over_all_orders() -> None:
    for relevant, total in ((1, 5), (2, 5), (3, 6), (6, 6)):
        found = []
        for places in itertools.combinations(range(1, total + 1), relevant):
            found.append(np.mean([(i + 1) / place for i, place in enumerate(places)]))
        assert chance_average_precision(np.array(float(relevant)), np.array(float(total))) == pytest.approx(np.mean(found))
    assert np.isnan(chance_average_precision(np.array(0.0), np.array(4.0)))


def test_chance_recall_equals_counting_draws() -> None:
    for right, total, k in ((1, 6, 1), (2, 6, 3), (4, 6, 3), (1, 3, 5)):
        draws = list(itertools.combinations(range(total), min(k, total)))
        expected = np.mean([min(draw) < right for draw in draws])
        assert chance_recall(np.array([right]), total, k)[0] == pytest.approx(expected)


def test_weighted_median_equals_median_of_repeated_values() -> None:
    values, weights = np.array([5.0, 1.0, 9.0, 3.0]), np.array([[1, 1, 1, 0], [0, 3, 1, 1], [0, 0, 0, 0]], float)
    found = weighted_median(values, weights)
    assert found[0] == 5
    assert found[1] == 1
    assert np.isnan(found[2])
