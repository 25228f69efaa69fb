from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from masked_store import SIDE, MaskedStore

from lingula.core.errors import UserError
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.segmentation_truth import fill_box, gather_masks


def config(**segment: Any) -> EvaluateConfig:
    others = {name: segment.pop(name) for name in ("label", "split", "against", "folds") if name in segment}
    return EvaluateConfig.from_values({"store": "x", "segment": segment, **others}, "test")


def gather(store: Any, **values: Any) -> Any:
    return gather_masks(store, store.rows("train"), store.rows("test"), config(**values))


@pytest.fixture
def store() -> MaskedStore:
    return MaskedStore()


def test_masks_of_one_finding_are_joined_and_those_of_others_kept_apart(store: MaskedStore) -> None:
    row = next(row for row in range(48) if store.matrix[row].all())
    extra = np.zeros((SIDE, SIDE), bool)
    extra[0, 0] = True
    store.found[row].append((StoredRegion("Edema", (0, 0, 1, 1), has_mask=True), extra))
    masks = gather(store).masks(row)
    np.testing.assert_array_equal(masks[0], store.found[row][0][1] | extra)
    np.testing.assert_array_equal(masks[1], store.found[row][1][1])


def test_what_is_known_follows_from_regions_and_labels(store: MaskedStore) -> None:
    store.matrix[:6, 0] = 1, 1, 0, np.nan, np.nan, 0
    box = StoredRegion("Edema", (2, 3, 9, 9))
    mask = (replace(box, has_mask=True), np.ones((SIDE, SIDE), bool))
    for row, regions in enumerate([[], [(box, None)], [], [], [mask], [mask, (box, None)]]):
        store.found[row] = [each for each in store.found[row] if each[0].finding != "Edema"] + regions
    assert gather(store).known[:6, 0].tolist() == [False, False, True, False, True, False]
    assert gather(store).outlined[:6, 0].tolist() == [False, False, False, False, True, False]
    assert gather(store, unlisted="absent").known[:6, 0].tolist() == [False, False, True, True, True, False]
    assert gather(store, boxes=True).known[:6, 0].tolist() == [False, True, True, False, True, True]
    assert gather(store, boxes=True).outlined[:6, 0].tolist() == [False, True, False, False, True, True]
    assert gather(store, boxes=True).masks(1)[0].sum() == 42
    assert gather(store).usable(np.array([0, 2])).tolist() == [0, 2], "the nodule of image 0 is known"
    assert gather(store, label=["Edema"]).usable(np.arange(6)).tolist() == [2, 4]


def test_negatives_may_be_those_with_another_label(store: MaskedStore) -> None:
    row = next(row for row in range(48) if store.matrix[row].tolist() == [0, 1])
    other = next(row for row in range(48) if store.matrix[row].tolist() == [0, 0])
    known = gather(store, label=["Edema"], against="Nodule").known
    assert known[row, 0]
    assert not known[other, 0]


def test_findings_without_labels_are_segmented_too(store: MaskedStore) -> None:
    store.findings, store.matrix = ["Nodule"], store.matrix[:, 1:]
    truth = gather(store)
    assert truth.findings == ["Edema", "Nodule"]
    has = np.array([any(region.finding == "Edema" for region in store.regions(row)) for row in range(len(store))])
    np.testing.assert_array_equal(truth.known[:, 0], has)


@pytest.mark.parametrize(
    ("change", "values", "message"),
    [
        ("none", {}, r"no mask in the store blobs.*masks.csv"),
        ("none", {"boxes": True}, r"no region in the store blobs"),
        ("boxes", {}, r"no mask in the store blobs.*--segment.boxes"),
        ("no train", {}, r"no mask among the training rows"),
        ("no test", {}, r"no mask among the test rows"),
        ("no test", {"label": ["Nodule"]}, r"no mask of Nodule among the test rows"),
        ("apart", {}, r"no finding has a mask among both"),
        ("apart", {"label": ["Edema", "Nodule"]}, r"no mask of Nodule among the training rows"),
        ("", {"label": ["Noodle"]}, r"no mask of 'Noodle' in the store blobs.*Did you mean 'Nodule'"),
    ],
)
def test_a_store_without_what_is_needed_says_what_is_missing(
    store: MaskedStore, change: str, values: dict[str, Any], message: str
) -> None:
    for row, split in enumerate(store.columns["split"]):
        if change == "none" or change == f"no {split}":
            store.found[row] = []
        if change == "boxes":
            store.found[row] = [(replace(region, has_mask=False), None) for region, _ in store.found[row]]
        if change == "apart":
            wanted = "Edema" if split == "train" else "Nodule"
            store.found[row] = [each for each in store.found[row] if each[0].finding == wanted]
    with pytest.raises(UserError, match=message):
        gather(store, **values)


def test_a_mask_of_another_size_and_a_bad_box_are_named(store: MaskedStore) -> None:
    row = int(np.flatnonzero(store.matrix[:48, 0])[0])
    region = store.found[row][0][0]
    store.found[row][0] = (region, np.ones((SIDE, SIDE // 2), bool))
    with pytest.raises(UserError, match=rf"Edema in image r{row:03}: a mask of 32 × 16 pixels for an image of 32 × 32"):
        gather(store).masks(row)
    store.found[row][0] = (replace(region, has_mask=False, box=(9, 2, 3, 8)), None)
    with pytest.raises(UserError, match=rf"Edema in image r{row:03}: box .* is inverted or outside"):
        gather(store, boxes=True).masks(row)


@pytest.mark.parametrize(
    "box", [(5, 1, 5, 3), (6, 1, 5, 3), (-1, 1, 5, 3), (1, 1, 21, 3), (1, 1, 5, 11), (float("nan"), 1, 5, 3), (1, 3, 5, 1)]
)
def test_a_box_that_is_none_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="inverted or outside the 10 × 20 pixels"):
        fill_box(box, 10, 20)


@given(x=st.tuples(st.floats(0, 20), st.floats(0, 20)), y=st.tuples(st.floats(0, 10), st.floats(0, 10)))
@settings(max_examples=200, deadline=None)
def test_a_filled_box_is_the_pixels_whose_centres_it_holds(x: tuple[float, float], y: tuple[float, float]) -> None:
    (x1, x2), (y1, y2) = sorted(x), sorted(y)
    assume(x1 < x2 and y1 < y2)
    rows, columns = np.indices((10, 20)) + 0.5
    expected = (x1 <= columns) & (columns < x2) & (y1 <= rows) & (rows < y2)
    mask = fill_box((x1, y1, x2, y2), 10, 20)
    if expected.any():
        np.testing.assert_array_equal(mask, expected)
    else:
        assert mask.sum() == 1
        (row,), (column,) = np.nonzero(mask)
        assert abs(row + 0.5 - (y1 + y2) / 2) <= 0.5
        assert abs(column + 0.5 - (x1 + x2) / 2) <= 0.5
