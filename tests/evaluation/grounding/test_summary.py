from __future__ import annotations

import numpy as np
import pytest

from lingula.evaluation.bootstrap import resampled_weights
from lingula.evaluation.grounding.summary import mean_rows, overall_rows


def test_means_per_finding_and_over_findings_with_undefined_values() -> None:
    values = {"m": np.array([1.0, 3.0, np.nan, 5.0])}
    rows = mean_rows(values, ["a", "a", "b", "b"], list("pqrs"), 0, 0, "s", {"m": np.array([0.1, 0.3, 0.5, 0.5])})
    assert [(row.label, row.value, row.n) for row in rows] == [("macro", 3.5, 3), ("a", 2.0, 2), ("b", 5.0, 1)]
    assert [row.chance for row in rows] == pytest.approx([0.35, 0.2, 0.5])
    assert rows[0].low is None
    assert mean_rows({"m": np.full(2, np.nan)}, ["a", "b"], ["p", "q"], 9, 0, "")[0].value is None


def test_intervals_draw_patients_with_all_their_queries() -> None:
    rng = np.random.default_rng(0)
    values, findings = rng.normal(size=30), ["a" if n % 3 else "b" for n in range(30)]
    patients = [f"p{n // 5}" for n in range(30)]
    weights = np.concatenate(list(resampled_weights(patients, 200, 7)))
    member = np.array(findings) == "a"
    draws = [np.mean([np.average(values[each], weights=w[each]) for each in (member, ~member) if w[each].sum()]) for w in weights]
    macro = mean_rows({"m": values}, findings, patients, 200, 7, "")[0]
    assert (macro.low, macro.high) == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=1e-6)
    overall = overall_rows({"m": values}, patients, 200, 7, "s", {"m": 0.5})[0]
    plain = [np.average(values, weights=w) for w in weights]
    assert (overall.low, overall.high) == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=1e-6)
    assert (overall.value, overall.n, overall.chance, overall.label) == (pytest.approx(values.mean()), 30, 0.5, "")
