from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.core.errors import UserError
from lingula.data.split_rules import Case, drawn, drawn_from_train, hold_out_patients, only_test, published, whole_patients
from lingula.data.study import Split

CASES = st.lists(
    st.builds(
        Case,
        study_id=st.uuids().map(str),
        patient_id=st.integers(0, 8).map(str),
        images=st.integers(1, 3),
        frontal=st.just(1),
        published=st.sampled_from(["train", "test", None]),
        positive=st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


def _cases(count: int, positive: int = 0) -> list[Case]:
    return [Case(f"s{n:03d}", f"p{n}", 1, 1, "train" if n % 5 else "test", n < positive) for n in range(count)]


@given(CASES, st.sampled_from([0.1, 0.5]))
def test_whole_patients_are_held_out_of_train_alone(cases: list[Case], share: float) -> None:
    splits = hold_out_patients(share=share)(cases)
    by_patient: defaultdict[str, set[Split | None]] = defaultdict(set)
    for case, split in zip(cases, splits, strict=True):
        assert split == case.published or (case.published == "train" and split == "val")
        if case.published == "train":
            by_patient[case.patient_id].add(split)
    assert all(len(each) == 1 for each in by_patient.values())
    train = [case.images for case in cases if case.published == "train"]
    val = sum(case.images for case, split in zip(cases, splits, strict=True) if split == "val")
    assert share * sum(train) <= val
    heaviest = max((sum(c.images for c in cases if c.published == "train" and c.patient_id == p) for p in by_patient), default=0)
    assert val < share * sum(train) + heaviest or not train


@given(CASES)
def test_whole_patients_ignores_what_is_published(cases: list[Case]) -> None:
    splits = whole_patients(0.6, 0.2)(cases)
    assert len({(case.patient_id, split) for case, split in zip(cases, splits, strict=True)}) == len(
        {c.patient_id for c in cases}
    )
    assert splits == whole_patients(0.6, 0.2)([case._replace(published="test") for case in cases])


def test_held_out_patients_do_not_depend_on_the_order() -> None:
    cases = _cases(60)
    forward = dict(zip([case.study_id for case in cases], hold_out_patients(images=7)(cases), strict=True))
    backward = dict(zip([case.study_id for case in cases[::-1]], hold_out_patients(images=7)(cases[::-1]), strict=True))
    assert forward == backward
    assert list(forward.values()).count("val") == 7


def test_frontal_images_alone_may_be_counted() -> None:
    cases = [case._replace(images=3) for case in _cases(60)]
    assert hold_out_patients(images=9, frontal=True)(cases).count("val") == 9
    assert hold_out_patients(images=9)(cases).count("val") == 3


def test_a_stratified_draw_keeps_the_share_of_positives() -> None:
    cases = _cases(200, positive=40)
    splits = drawn(0.3, seed=42, stratified=True, second="val")(cases)
    counts = {split: [c.positive for c, s in zip(cases, splits, strict=True) if s == split] for split in ("train", "val", "test")}
    assert {split: (len(each), sum(each)) for split, each in counts.items()} == {
        "train": (140, 28),
        "val": (30, 6),
        "test": (30, 6),
    }
    assert drawn(0.3, seed=42, stratified=True, second="test")(cases).count("test") == 30


def test_a_number_of_studies_may_be_drawn_and_test_stays() -> None:
    cases = _cases(100)
    splits = drawn_from_train(8, seed=0)(cases)
    assert [splits.count(split) for split in ("train", "val", "test")] == [72, 8, 20]
    assert all(split == "test" for case, split in zip(cases, splits, strict=True) if case.published == "test")
    with pytest.raises(UserError, match="80 studies are too few"):
        drawn_from_train(81, seed=0)(cases)


def test_published_and_test_alone() -> None:
    cases = [*_cases(3), Case("x", "x", 1, 1, None, False)]
    assert published(cases) == ["test", "train", "train", None]
    assert only_test(cases) == ["test"] * 4
