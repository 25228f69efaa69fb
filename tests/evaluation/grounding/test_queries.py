from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import build_blobs

from lingula.core.errors import UserError
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.grounding.queries import filled_box, gather_queries, truth_of


def config(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": Path("x"), **values}, "test")


def test_regions_with_the_same_words_are_one_query() -> None:
    store = build_blobs()
    second = np.zeros((16, 16), bool)
    second[15, 15] = True
    store._rows[0]["regions"] = [*store.regions(0), StoredRegion("Alpha", (15, 15, 16, 16), True, "", "right sided alpha")]
    store._rows[0]["masks"].append(second)
    store._rows[1]["regions"] = [*store.regions(1), StoredRegion("Beta", (0, 0, 2, 2), False, "", "another")]
    store._rows[1]["masks"].append(None)
    queries = gather_queries(store, np.array([0, 1]), config()).asked
    assert [(query.row, query.texts, query.regions) for query in queries] == [
        (0, ("right sided alpha",), (0, 1)),
        (1, ("right sided beta",), (0,)),
        (1, ("another",), (1,)),
    ]
    assert truth_of(store, queries[0]).sum() == 17
    assert truth_of(store, queries[2]).sum() == 4


def test_prompts_ask_where_no_phrase_is_stored() -> None:
    store = build_blobs()
    store._rows[0]["regions"] = [StoredRegion("Alpha", (0, 0, 4, 4), True, "pathology")]
    first, second = gather_queries(store, np.array([0, 1]), config()).asked
    assert not first.stored
    assert "there is alpha" in first.texts
    assert second.stored
    assert not any(query.stored for query in gather_queries(store, np.array([0, 1]), config(ground={"words": "prompt"})).asked)


def test_regions_without_a_pixel_are_counted_and_left_out() -> None:
    store = build_blobs()
    store._rows[0]["masks"] = [np.zeros((16, 16), bool)]
    store._rows[1]["masks"], store._rows[1]["regions"] = [None], [StoredRegion("Beta", (3, 3, 3, 9))]
    found = gather_queries(store, np.arange(4), config())
    assert found.empty == 2
    assert [query.row for query in found.asked] == [2, 3]


def test_kinds_and_findings_can_be_chosen() -> None:
    store = build_blobs()
    store._rows[0]["regions"] = [StoredRegion("lung", (0, 0, 9, 9), False, "anatomy", "right lung")]
    store._rows[0]["masks"] = [None]
    rows = np.arange(6)
    assert [q.finding for q in gather_queries(store, rows, config(ground={"kind": ["anatomy"]})).asked] == ["lung"]
    assert {q.finding for q in gather_queries(store, rows, config(label=["Beta"])).asked} == {"Beta"}
    assert {q.finding for q in gather_queries(store, rows, config()).asked} == {"Alpha", "Beta", "lung"}
    with pytest.raises(UserError, match="Did you mean 'Alpha'"):
        gather_queries(store, rows, config(label=["alpa"]))
    with pytest.raises(UserError, match="Did you mean 'anatomy'"):
        gather_queries(store, rows, config(ground={"kind": ["anatomi"]}))


def test_a_store_without_regions_is_refused() -> None:
    with pytest.raises(UserError, match="has no regions to find"):
        gather_queries(build_blobs(regions=False), np.arange(4), config())


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((1.0, 2.0, 4.0, 5.0), 9),
        ((0.4, 0.4, 2.6, 2.6), 9),
        ((0.6, 0.6, 2.4, 2.4), 1),
        ((5.1, 5.1, 5.2, 5.3), 1),
        ((5.1, 0.0, 5.2, 8.0), 8),
        ((3.0, 3.0, 3.0, 5.0), 0),
        ((5.0, 5.0, 4.0, 6.0), 0),
        ((7.8, 7.8, 8.0, 8.0), 1),
    ],
)
def test_boxes_are_filled_by_pixel_centres(box: tuple[float, ...], pixels: int) -> None:
    mask = filled_box(box, 8)
    assert mask.sum() == pixels
    if pixels == 1 and box[0] > 5:
        assert mask[int(box[1]), int(box[0])]
