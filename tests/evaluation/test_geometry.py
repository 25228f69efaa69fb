from __future__ import annotations

import numpy as np
import pytest

from lingula.evaluation.geometry import (
    alignment,
    effective_rank,
    fisher_ratio,
    jackknife_interval,
    mean_correlation,
    singular_spectrum,
    uniformity,
)

RNG = np.random.default_rng(0)


def test_spectrum_holds_the_deviations_along_the_axes() -> None:
    axes = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    cloud = RNG.normal(size=(20_000, 5)) * [3, 2, 1, 0.5, 0] @ axes.T + 7
    np.testing.assert_allclose(singular_spectrum(cloud), [3, 2, 1, 0.5, 0], atol=0.05)


def test_effective_rank_counts_equal_axes_and_is_one_for_a_line() -> None:
    assert effective_rank(np.ones(6)) == pytest.approx(6)
    assert effective_rank(np.array([4.0, 0, 0])) == pytest.approx(1)
    assert effective_rank(np.array([0.75, 0.25])) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert np.isnan(effective_rank(np.zeros(3)))
    line = np.outer(RNG.normal(size=50), RNG.normal(size=8)) + 3
    assert effective_rank(singular_spectrum(line)) == pytest.approx(1, abs=1e-6)


def test_alignment_is_two_minus_two_cosines() -> None:
    one, two = np.array([[1.0, 0], [0, 2.0]]), np.array([[3.0, 0], [0, -1.0]])
    assert alignment(one, one) == pytest.approx(0)
    assert alignment(one, two) == pytest.approx((0 + 4) / 2)


def test_uniformity_of_a_point_of_opposites_and_of_a_wide_sphere() -> None:
    assert uniformity(np.ones((4, 3))) == pytest.approx(0)
    assert uniformity(np.array([[1.0, 0], [-1.0, 0]])) == pytest.approx(-8)
    slow = [np.exp(-2 * ((a - b) ** 2).sum()) for i, a in enumerate(np.eye(3)) for b in np.eye(3)[:i]]
    assert uniformity(np.eye(3)) == pytest.approx(np.log(np.mean(slow)))
    assert uniformity(RNG.normal(size=(400, 500))) == pytest.approx(-4, abs=0.05)


def test_correlation_equals_numpy_and_leaves_constants_out() -> None:
    cloud = RNG.normal(size=(60, 4)) @ RNG.normal(size=(4, 4))
    expected = np.abs(np.corrcoef(cloud.T))[~np.eye(4, dtype=bool)].mean()
    assert mean_correlation(cloud) == pytest.approx(expected)
    assert mean_correlation(np.column_stack([cloud, np.full(60, 5.0)])) == pytest.approx(expected)
    assert mean_correlation(np.column_stack([cloud[:, 0], -2 * cloud[:, 0]])) == pytest.approx(1)
    assert np.isnan(mean_correlation(np.ones((5, 3))))


def test_fisher_ratio_by_hand_and_without_regard_to_scale() -> None:
    features, positive = np.array([[0.0], [2.0], [10.0], [14.0]]), np.array([False, False, True, True])
    assert fisher_ratio(features, positive) == pytest.approx((12 - 1) ** 2 / (4 + 1))
    assert fisher_ratio(100 * features + 3, positive) == pytest.approx(121 / 5)
    assert np.isnan(fisher_ratio(features, np.ones(4, bool)))


def test_the_jackknife_of_a_mean_has_its_standard_error() -> None:
    values = RNG.normal(size=2000)
    patients = [str(i) for i in range(2000)]
    value, low, high = jackknife_interval(lambda chosen: float(values[chosen].mean()), patients, seed=0, groups=200)
    assert value == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * values.std(ddof=1) / np.sqrt(2000), rel=0.15)
    assert (low + high) / 2 == pytest.approx(value)


def test_the_jackknife_leaves_whole_patients_out() -> None:
    patients = ["a", "a", "b", "b", "c", "c"]
    seen: list[tuple[int, ...]] = []
    jackknife_interval(lambda chosen: float(seen.append(tuple(chosen.tolist())) or 0), patients, seed=0)
    assert sorted(seen) == [(0, 1, 2, 3), (0, 1, 2, 3, 4, 5), (0, 1, 4, 5), (2, 3, 4, 5)]
    assert np.isnan(jackknife_interval(lambda chosen: 1.0, ["a", "a"], seed=0)[1])
