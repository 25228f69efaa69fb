from __future__ import annotations

import numpy as np
import pytest

from lingula.evaluation.metrics import auroc
from lingula.evaluation.scored import MACRO, Scored, difference_rows, from_columns, score_rows, thresholds_of, to_columns


def scored(units: int = 1, seed: int = 0, folds: bool = False) -> Scored:
    rng = np.random.default_rng(seed)
    targets = (np.random.default_rng(7).random((90, 2)) < 0.4).astype(float)
    targets[:9, 1] = np.nan
    scores = rng.normal(size=(units, 90, 2)) + targets
    if folds:
        for unit in range(units):
            scores[unit, np.arange(90) % units != unit] = np.nan
    scores[:, :9, 1] = np.where(np.isnan(scores[:, :9, 0]), np.nan, 0.5)
    return Scored(
        [f"r{i:03d}" for i in range(90)], [f"p{i // 2}" for i in range(90)], ["A", "B"], targets, scores, np.full((units, 2), 0.5)
    )


def test_rows_hold_each_finding_and_the_mean_with_ordered_intervals() -> None:
    table = scored()
    rows = {(row.metric, row.label): row for row in score_rows(table, 200, 0)}
    for j, finding in enumerate("AB"):
        assert rows["AUROC", finding].value == pytest.approx(auroc(table.scores[0, :, j], table.targets[:, j]))
    mean = (rows["AUROC", "A"].value + rows["AUROC", "B"].value) / 2
    assert rows["AUROC", MACRO].value == pytest.approx(mean)
    assert rows["AUROC", "B"].n == 81
    assert rows["AUROC", "B"].positives == int(np.nansum(table.targets[:, 1]))
    assert rows["AUROC", "A"].chance == 0.5
    prevalence = rows["AUPRC", "A"].positives / 90
    assert prevalence < rows["AUPRC", "A"].chance < prevalence + 0.05
    assert all(row.low <= row.value <= row.high for row in rows.values())


def test_fits_are_measured_apart_and_then_averaged() -> None:
    table = scored(3, folds=True)
    expected = np.mean([auroc(table.scores[u, u::3, 0], table.targets[u::3, 0]) for u in range(3)])
    rows = {(row.metric, row.label): row for row in score_rows(table, 0, 0)}
    assert rows["AUROC", "A"].value == pytest.approx(expected)
    assert rows["AUROC", "A"].n == 90
    assert rows["AUROC", "A"].low is None
    shifted = Scored(
        table.row_ids, table.patients, table.findings, table.targets, table.scores + np.arange(3)[:, None, None], table.thresholds
    )
    assert score_rows(shifted, 0, 0, metrics=("AUROC",))[0].value == pytest.approx(expected)


def test_a_missing_threshold_leaves_decisions_undefined_but_not_auroc() -> None:
    table = scored()
    table.thresholds[0, 0] = np.nan
    rows = {(row.metric, row.label): row for row in score_rows(table, 20, 0)}
    assert rows["F1", "A"].value is None
    assert rows["F1", "B"].value is not None
    assert rows["AUROC", "A"].value is not None


def test_a_paired_difference_of_a_model_with_itself_is_zero_and_of_two_is_their_difference() -> None:
    a, b = scored(seed=1), scored(seed=2)
    assert all(row.value == row.low == row.high == 0 for row in difference_rows(a, a, 30, 0))
    ours, theirs = ({(r.metric, r.label): r.value for r in score_rows(t, 0, 0)} for t in (a, b))
    for row in difference_rows(a, b, 30, 0):
        assert row.value == pytest.approx(ours[row.metric, row.label] - theirs[row.metric, row.label])


def test_the_long_table_gives_the_scores_back() -> None:
    table = scored(3, folds=True)
    back = from_columns({name: np.asarray(values) for name, values in to_columns(table, "x").items()})
    np.testing.assert_array_equal(back.scores, table.scores)
    np.testing.assert_array_equal(back.targets, table.targets)
    np.testing.assert_array_equal(back.thresholds, table.thresholds)
    assert back.row_ids == table.row_ids
    assert back.patients == table.patients


def test_thresholds_are_per_finding() -> None:
    scores = np.array([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0], [3.0, 13.0]])
    targets = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(thresholds_of(scores, targets, "f1"), [1.5, 10.5])
