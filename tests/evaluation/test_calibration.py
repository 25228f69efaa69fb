"""Reliability of probabilities: closed forms, and a slow bootstrap."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lingula.evaluation.calibration import calibration
from lingula.evaluation.result import TaskResult


def result_of(probability: np.ndarray, target: np.ndarray, patients: list[str] | None = None) -> TaskResult:
    count = len(target)
    table = pa.table(
        {
            "setting": [""] * count,
            "unit": np.zeros(count, int),
            "patient_id": patients or [f"p{i}" for i in range(count)],
            "target": target.astype(float),
            "probability": probability.astype(float),
        }
    )
    empty = TaskResult(task="probe", encoder="e", encoder_fingerprint="", store="s", store_fingerprint="", split="test", rows=[])
    return empty.with_predictions(table)


def test_two_bins_by_hand() -> None:
    probability = np.array([0.1, 0.1, 0.3, 0.3, 0.9, 0.9, 0.7, 0.7])
    target = np.array([0, 1, 0, 0, 1, 1, 1, 0])
    found = calibration(result_of(probability, target), bins=2, samples=50)
    assert found is not None
    assert found.predicted == pytest.approx([0.2, 0.8])
    assert found.observed == pytest.approx([0.25, 0.75])
    assert found.error[0] == pytest.approx(0.05)
    assert found.error[1] <= found.error[0] + 0.5
    assert (found.low <= found.observed).all()
    assert (found.observed <= found.high).all()


def test_true_probabilities_are_calibrated_and_squared_ones_are_not() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(20_000)
    target = generator.random(20_000) < truth
    honest, bent = (calibration(result_of(values, target), samples=60) for values in (truth, truth**2))
    assert honest is not None
    assert bent is not None
    assert honest.error[0] < 0.02
    assert bent.error[1] > honest.error[2]
    assert bent.error[0] == pytest.approx(1 / 2 - 1 / 3, abs=0.01)
    assert ((honest.low <= honest.predicted) & (honest.predicted <= honest.high)).mean() >= 0.7


def test_patients_with_many_images_widen_the_interval() -> None:
    generator = np.random.default_rng(1)
    probability = np.repeat(generator.random(60), 20)
    target = np.repeat(generator.random(60) < 0.5, 20)
    together = calibration(result_of(probability, target, [f"p{i // 20}" for i in range(1200)]), bins=2)
    apart = calibration(result_of(probability, target), bins=2)
    assert together is not None
    assert apart is not None
    assert ((together.high - together.low) > 2 * (apart.high - apart.low)).all()


def test_unknown_labels_and_missing_probabilities() -> None:
    found = calibration(result_of(np.array([0.2, 0.9, 0.4, np.nan]), np.array([0, np.nan, 1, 1])), bins=1, samples=5)
    assert found is not None
    assert found.predicted == pytest.approx([0.3])
    assert calibration(result_of(np.full(3, np.nan), np.ones(3))) is None
    assert calibration(result_of(np.zeros(0), np.zeros(0))) is None
