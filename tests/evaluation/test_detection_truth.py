from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bright_squares import BAR, SQUARE, SquaresStore

from lingula.core.errors import UserError
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.detection_truth import ANY, DetectionTruth, gather_boxes

ROWS = np.arange(12)


@pytest.fixture
def store() -> Any:
    return SquaresStore(12)


def gathered(store: Any, classes: str = "one", rows: np.ndarray = ROWS, **values: Any) -> DetectionTruth:
    return gather_boxes(store, rows, EvaluateConfig.from_values({"store": "x", "detect": {"classes": classes}} | values, "test"))


def test_boxes_of_all_findings_are_one_class_or_each_its_own(store: Any) -> None:
    one, each = gathered(store), gathered(store, "each")
    assert (one.classes, each.classes) == ([ANY], [BAR, SQUARE])
    for row in ROWS.tolist():
        expected = [region.box for region in store.boxes[row]]
        assert one.of[row].boxes.tolist() == each.of[row].boxes.tolist() == [list(box) for box in expected]
        assert one.of[row].labels.tolist() == [0] * len(expected)
        assert each.of[row].labels.tolist() == [[BAR, SQUARE].index(region.finding) for region in store.boxes[row]]
    assert one.boxed(ROWS).tolist() == [1, 2, 5, 6, 9, 10]
    assert one.known(ROWS).tolist() == ROWS.tolist()
    assert one.boxed(ROWS[:1]).tolist() == []


def test_a_named_finding_counts_alone_and_is_one_class(store: Any) -> None:
    truth = gathered(store, "each", label=[BAR])
    assert (truth.findings, truth.classes) == ([BAR], [ANY])
    assert truth.boxed(ROWS).tolist() == [2, 6, 10]
    assert all(len(truth.of[row].boxes) == 1 for row in (2, 6, 10))


def test_anatomy_counts_only_where_it_is_named(store: Any) -> None:
    store.boxes[0] = [StoredRegion("Heart", (4.0, 4.0, 20.0, 20.0), kind="anatomy")]
    assert gathered(store).findings == [BAR, SQUARE]
    assert len(gathered(store).of[0].boxes) == 0
    named = gathered(store, label=["Heart"])
    assert named.boxed(ROWS).tolist() == [0]


def test_present_but_not_drawn_is_unknown_and_absent_is_empty(store: Any) -> None:
    store.boxes[1], store.boxes[2] = [], []
    truth = gathered(store, label=[SQUARE])
    assert truth.unknown == [1, 2]
    assert truth.known(ROWS).tolist() == [0, *range(3, 12)]
    store._labels[1] = (0, np.nan)
    store._labels[2] = (1, -1)
    assert gathered(store, label=[SQUARE]).unknown == [], "not known, or uncertain, or of another finding"
    store.boxes[3] = [StoredRegion("Drawn Alone", (0.0, 0.0, 4.0, 4.0))]
    assert gathered(store, label=["Drawn Alone"]).unknown == [], "a finding without labels"


def test_what_is_wrong_is_told(store: Any) -> None:
    with pytest.raises(UserError, match="no box of 'Lung Nodul' among 12 images") as told:
        gathered(store, label=["Lung Nodul"])
    assert SQUARE in told.value.remedy
    with pytest.raises(UserError, match="no box of a finding among 1 images") as told:
        gathered(store, rows=ROWS[:1])
    assert "detection needs a store whose source gives boxes" in told.value.remedy
    store.boxes[5] = [StoredRegion(SQUARE, (0.0, 0.0, 4.0, 4.0)), StoredRegion(SQUARE, (9.0, 3.0, 5.0, 8.0))]
    with pytest.raises(UserError, match=r"box \[9.0, 3.0, 5.0, 8.0\] of image r005 is inverted"):
        gathered(store)
