from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.core.errors import UserError
from lingula.data.samples import BatchOrder, describe_pairs, fixed_batches, labelled_rows, paired_rows


class FakeStore:
    """Eight rows: text missing in rows 2 and 7, blank-looking in row 5; row 6 is for validation."""

    texts = ("a.", "b.", "", "c.", "d.", " \u200b ", "e.", "")
    projections = ("PA", "lateral", "PA", "AP", "unknown", "PA", "PA", "AP")

    def __len__(self) -> int:
        return 8

    def rows(self, split: str | None = None, with_text: bool | None = None, sections: object = None) -> np.ndarray:
        rows = [row for row in range(8) if split is None or (split == "val") == (row == 6)]
        return np.array([row for row in rows if with_text is None or bool(self.texts[row]) == with_text])

    def text(self, row: int, sections: Sequence[str] | None = None) -> str:
        return self.texts[row]

    def column(self, name: str) -> list[str]:
        return list(self.projections)

    def labels(self, rows: np.ndarray, findings: Sequence[str]) -> np.ndarray:
        values = np.full((8, 2), np.nan, np.float32)
        values[1, 0], values[4, 1] = 1, 0
        return values[rows]


STORE: Any = FakeStore()


def test_pairs_need_text_that_says_something() -> None:
    assert paired_rows(STORE, "train", None, "all").tolist() == [0, 1, 3, 4]
    assert paired_rows(STORE, "train", None, "frontal").tolist() == [0, 3]
    assert paired_rows(STORE, "val", None, "all").tolist() == [6]
    assert describe_pairs(STORE, None, 4) == "6 of 8 images have text; 4 training pairs"


def test_labelled_rows_have_at_least_one_known_label() -> None:
    assert labelled_rows(STORE, "train", ["x", "y"]).tolist() == [1, 4]


@given(samples=st.integers(2, 40), batch=st.integers(2, 40), seed=st.integers(0, 5))
def test_an_epoch_holds_no_sample_twice_and_epochs_differ(samples: int, batch: int, seed: int) -> None:
    rows = np.arange(samples) * 3 + 1
    if batch > samples:
        with pytest.raises(UserError, match=f"a batch of {batch} needs {batch} training pairs; the store has {samples}"):
            BatchOrder(rows, batch, seed)
        return
    order = BatchOrder(rows, batch, seed)
    assert order.steps_per_epoch == samples // batch
    epochs = [np.concatenate([order.rows(e * order.steps_per_epoch + s) for s in range(order.steps_per_epoch)]) for e in range(2)]
    for seen in epochs:
        assert len(set(seen)) == len(seen) == samples // batch * batch
        assert set(seen) <= set(rows)
    if samples > 20:
        assert not np.array_equal(*epochs)


def test_the_order_of_a_step_does_not_depend_on_what_was_asked_before() -> None:
    one, other = BatchOrder(np.arange(50), 8, 1), BatchOrder(np.arange(50), 8, 1)
    backwards = [other.rows(step) for step in reversed(range(20))][::-1]
    assert all(np.array_equal(one.rows(step), backwards[step]) for step in range(20))
    assert not np.array_equal(one.rows(0), BatchOrder(np.arange(50), 8, 2).rows(0))


def test_one_image_of_each_study_per_epoch() -> None:
    studies = ["a", "b", "a", "c", "a", "b"]
    order = BatchOrder(np.arange(10, 16), 3, 0, studies)
    assert (order.samples, order.steps_per_epoch) == (3, 1)
    counts: Counter[int] = Counter()
    for epoch in range(300):
        rows = order.rows(epoch).tolist()
        assert {studies[row - 10] for row in rows} == {"a", "b", "c"}
        counts.update(rows)
    assert counts[13] == 300
    assert all(70 < counts[row] < 130 for row in (10, 12, 14))


def test_validation_batches_are_whole_or_one() -> None:
    assert [len(b) for b in fixed_batches(np.arange(100), 32, 8, 0)] == [32, 32, 32]
    assert [len(b) for b in fixed_batches(np.arange(100), 32, 2, 0)] == [32, 32]
    assert [sorted(b.tolist()) for b in fixed_batches(np.arange(5), 32, 2, 0)] == [[0, 1, 2, 3, 4]]
    assert fixed_batches(np.arange(0), 32, 2, 0) == []
