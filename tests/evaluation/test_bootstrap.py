from __future__ import annotations

import time

import numpy as np
import pytest

from lingula.evaluation.bootstrap import bootstrap_interval, resampled_weights
from lingula.evaluation.metrics import weighted_auroc, weighted_mean

PATIENTS = [f"p{i // 3}" for i in range(60)]


def test_a_patient_is_drawn_with_all_images() -> None:
    weights = np.concatenate(list(resampled_weights(PATIENTS, 50, 0)))
    assert weights.shape == (50, 60)
    assert (weights.sum(axis=1) == 60).all()
    grouped = weights.reshape(50, 20, 3)
    assert (grouped == grouped[:, :, :1]).all()
    assert (weights == 0).any()


def test_draws_depend_on_the_seed_and_not_on_the_block() -> None:
    whole = np.concatenate(list(resampled_weights(PATIENTS, 37, 5)))
    blocks = np.concatenate(list(resampled_weights(PATIENTS, 37, 5, cells=300)))
    np.testing.assert_array_equal(whole, blocks)
    assert (whole != np.concatenate(list(resampled_weights(PATIENTS, 37, 6)))).any()


def test_interval_of_a_mean_matches_theory_and_widens_with_clusters() -> None:
    rng = np.random.default_rng(1)
    per_patient = rng.normal(size=400)
    values = np.repeat(per_patient, 2)

    def mean(weights: np.ndarray) -> np.ndarray:
        return weighted_mean(values, weights)[:, None]

    value, low, high = bootstrap_interval(mean, [f"p{i // 2}" for i in range(800)], 4000, 0)
    half = 1.96 * per_patient.std() / np.sqrt(400)
    assert value[0] == pytest.approx(values.mean())
    assert (high[0] - low[0]) / 2 == pytest.approx(half, rel=0.06)
    _, low_images, high_images = bootstrap_interval(mean, [f"p{i}" for i in range(800)], 4000, 0)
    assert (high_images[0] - low_images[0]) == pytest.approx((high[0] - low[0]) / np.sqrt(2), rel=0.08)


def test_paired_difference_is_narrower_than_the_two_intervals() -> None:
    rng = np.random.default_rng(2)
    positive = rng.random(300) < 0.3
    scores = rng.normal(size=300) + positive
    other = scores + 0.05 * rng.normal(size=300)
    patients = [str(i) for i in range(300)]
    _, low, high = bootstrap_interval(lambda w: weighted_auroc(scores, positive, w)[:, None], patients, 500, 0)
    value, dlow, dhigh = bootstrap_interval(
        lambda w: (weighted_auroc(scores, positive, w) - weighted_auroc(other, positive, w))[:, None], patients, 500, 0
    )
    assert dhigh[0] - dlow[0] < 0.2 * (high[0] - low[0])
    assert dlow[0] <= value[0] <= dhigh[0]


def test_without_resamples_there_is_no_interval_and_undefined_draws_are_left_out() -> None:
    value, low, _ = bootstrap_interval(lambda w: weighted_mean(np.ones(60), w)[:, None], PATIENTS, 0, 0)
    assert value[0] == 1
    assert np.isnan(low[0])
    positive = np.zeros(60, bool)
    positive[:3] = True
    _, low, high = bootstrap_interval(lambda w: weighted_auroc(np.arange(60.0), positive, w)[:, None], PATIENTS, 200, 0)
    assert low[0] == high[0] == 0


def test_1000_resamples_of_14_findings_in_1000_images_take_seconds() -> None:
    rng = np.random.default_rng(0)
    targets, scores = rng.random((1000, 14)) < 0.2, rng.normal(size=(1000, 14))
    start = time.perf_counter()
    bootstrap_interval(
        lambda w: np.stack([weighted_auroc(scores[:, j], targets[:, j], w) for j in range(14)], axis=1),
        [str(i // 2) for i in range(1000)],
        1000,
        0,
    )
    assert time.perf_counter() - start < 10
