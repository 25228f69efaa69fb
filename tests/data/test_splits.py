from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.core.errors import UserError
from lingula.data.splits import SPLITS, check_splits, read_split, split_of
from lingula.data.study import ImageReference, Split, Study


def _study(name: str, patient: str, split: Split | None) -> Study:
    return Study(study_id=name, patient_id=patient, images=[ImageReference(path=name)], split=split)


@given(st.text(), st.integers())
def test_the_split_of_a_patient_never_changes(patient: str, seed: int) -> None:
    assert split_of(patient, seed=seed) == split_of(patient, seed=seed)
    assert split_of(patient, (1, 0, 0), seed) == "train"
    assert split_of(patient, (0, 1, 0), seed) == "val"
    assert split_of(patient, (0, 0, 1), seed) == "test"


def test_shares_are_met_and_seeds_are_independent() -> None:
    first = [split_of(f"patient {number}", (0.6, 0.15, 0.25)) for number in range(8000)]
    second = [split_of(f"patient {number}", (0.6, 0.15, 0.25), seed=1) for number in range(8000)]
    shares = Counter(first)
    assert [shares[split] / 8000 for split in SPLITS] == pytest.approx([0.6, 0.15, 0.25], abs=0.02)
    agreement = sum(a == b for a, b in zip(first, second, strict=True)) / 8000
    assert agreement == pytest.approx(0.6**2 + 0.15**2 + 0.25**2, abs=0.02)


def test_known_splits_stay_as_they_were_published() -> None:
    """Changing the hash would move patients between the splits of every store."""
    assert [split_of(f"p{number}") for number in range(12)] == [
        "val", "train", "train", "train", "test", "train", "test", "train", "train", "train", "train", "train",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["valid", "Validate", "validation", "DEV", " val "])
def test_aliases_of_val(word: str) -> None:
    assert read_split(word) == "val"


def test_blank_is_no_split_and_an_unknown_word_is_an_error() -> None:
    assert read_split("  ") is None
    with pytest.raises(UserError, match=r"'Fold3' is not a split.*--split-column none"):
        read_split("Fold3")


def test_a_patient_in_two_splits_is_named() -> None:
    good = [_study("a", "p1", "train"), _study("b", "p1", "train"), _study("c", "p2", "test"), _study("d", "p3", None)]
    assert check_splits(good) == {"p1": "train", "p2": "test"}
    with pytest.raises(UserError, match=r"'p2' is in two splits, test and val \(study 'e'\).*--split-column none"):
        check_splits([*good, _study("e", "p2", "val")])
