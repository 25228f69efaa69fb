from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.evaluation.cohort import (
    choose_findings,
    column_text,
    data_counts,
    folds_by_patient,
    is_phantom,
    select_rows,
    subgroups,
    targets,
)
from lingula.evaluation.config import EvaluateConfig


def config(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": Path("x"), **values}, "test")


def test_filters_must_all_hold(store: Any) -> None:
    rows = select_rows(store, ["source=NI*", "sex=F"])
    assert len(rows)
    assert all(i % 3 and i % 2 == 0 for i in rows)
    assert len(select_rows(store, [])) == len(store)


def test_filter_errors_are_clear(store: Any) -> None:
    with pytest.raises(UserError, match="Did you mean 'source'"):
        select_rows(store, ["sorce=NIH"])
    with pytest.raises(UserError, match="no image"):
        select_rows(store, ["source=MIMIC"])
    with pytest.raises(UserError, match="COLUMN=PATTERN"):
        config(where=["source"])
    assert column_text(store, "projection") == ["PA"] * len(store)


def test_against_takes_negatives_from_another_label_only(make_store: Callable[..., Any]) -> None:
    store = make_store(4)
    store._labels = np.array([[1, 1, 0], [np.nan, 1, 0], [0, 0, 0], [1, 0, 1]], np.float32)
    values = targets(store, np.arange(4), ["Atelectasis"], "Edema")[:, 0]
    np.testing.assert_array_equal(values, [1, 0, np.nan, 1])
    np.testing.assert_array_equal(targets(store, np.arange(4), ["Atelectasis"], None)[:, 0], [1, np.nan, 0, 1])


def test_findings_need_both_classes(make_store: Callable[..., Any]) -> None:
    store = make_store(10)
    store._labels[:, 1], store._labels[:, 0] = 1, np.arange(10) % 2
    rows = np.arange(10)
    assert "Edema" not in choose_findings(store, rows, config())
    with pytest.raises(UserError, match=r"Edema \(10 present, 0 absent\).*--against"):
        choose_findings(store, rows, config(label=["Edema"]))
    store._labels[:] = 0
    with pytest.raises(UserError, match="no finding has both classes"):
        choose_findings(store, rows, config())


def test_folds_keep_patients_together_and_are_even() -> None:
    patients = [f"p{i // 3}" for i in range(99)]
    fold = folds_by_patient(patients, 5, 0)
    assert all(len(set(fold[i : i + 3])) == 1 for i in range(0, 99, 3))
    counts = np.bincount(fold, minlength=5) // 3
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(fold, folds_by_patient(patients, 5, 0))
    with pytest.raises(UserError, match="2 patients"):
        folds_by_patient(["a", "b", "b"], 5, 0)


def test_subgroups_are_known_values_that_divide(make_store: Callable[..., Any]) -> None:
    extra = [{"Sex": "female", "age": "17"}, {"Sex": "M", "age": "65.0"}, {"Sex": "", "age": "n/a"}, {"Sex": "m", "age": "40"}]
    store = make_store(4, extra=extra, projection=["PA", "AP", "unknown", "PA"])
    found = {name: list(places) for name, places in subgroups(store, np.array([0, 1, 2, 3])).items()}
    assert found == {
        "sex: F": [0],
        "sex: M": [1, 3],
        "age: 0-17": [0],
        "age: 65+": [1],
        "age: 40-64": [3],
        "projection: PA": [0, 3],
        "projection: AP": [1],
    }
    assert not subgroups(make_store(4, extra=[{}] * 4), np.arange(4))


def test_counts_tell_images_without_text_and_quarantined(make_store: Callable[..., Any]) -> None:
    store = make_store(8)
    store._texts = ["", *store._texts[1:]]
    counts = data_counts(store)
    assert counts["splits"]["train"] == {"images": 4, "patients": 2, "with text": 3, "without text": 1}
    assert counts["quarantined"] == 1
    assert counts["findings"]["Edema"]["present"] == int(store._labels[:, 1].sum())
    assert not counts["phantom"]
    assert is_phantom("phantom")
