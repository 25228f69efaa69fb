"""Variants of reports: they say the same, in another order or more shortly, and each has its probability."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.core.randomness import random_generator
from lingula.data.text.anatomy import part_of
from lingula.data.text.report_augment import varied_report
from lingula.data.text.report_augment_config import ReportAugmentConfig
from lingula.data.text.statements import PartStatements, report_statements

SECTIONS = {
    "findings": (
        "Nodules are seen in both lungs. Normal heart. Emphysema. Minimal pericardial effusion. Consolidation. Rib fracture."
    ),
    "impression": "Lung nodules. Cardiomegaly.",
}
SENTENCES = [
    *("Nodules are seen in both lungs.", "Normal heart.", "Emphysema.", "Minimal pericardial effusion.", "Consolidation."),
    *("Rib fracture.", "Lung nodules.", "Cardiomegaly."),
]
STATEMENTS = report_statements(SECTIONS)


def options(short: float, section: float, sentence: float) -> ReportAugmentConfig:
    return ReportAugmentConfig(short_sentence=short, section_shuffle=section, sentence_shuffle=sentence)


def cut(text: str) -> list[str]:
    return [f"{part}." for part in text.rstrip(".").split(". ")]


def test_nothing_drawn_is_the_report_as_written() -> None:
    assert cut(varied_report(SECTIONS, STATEMENTS, options(0, 0, 0), random_generator(0))) == SENTENCES


@given(st.integers(0, 2**32))
def test_shuffled_parts_keep_their_sentences_in_order(key: int) -> None:
    found = cut(varied_report(SECTIONS, STATEMENTS, options(0, 1, 0), random_generator(key)))
    parts = [part_of(sentence) for sentence in found]
    assert sorted(found) == sorted(SENTENCES)
    assert sum(a != b for a, b in itertools.pairwise(parts)) == len(set(parts)) - 1, "each part stands together"
    for part in set(parts):
        assert [text for text in found if part_of(text) == part] == [text for text in SENTENCES if part_of(text) == part]


@given(st.integers(0, 2**32))
def test_shuffled_sentences_stay_in_their_part_and_parts_in_their_order(key: int) -> None:
    found = cut(varied_report(SECTIONS, STATEMENTS, options(0, 0, 1), random_generator(key)))
    assert sorted(found) == sorted(SENTENCES)
    assert list(dict.fromkeys(map(part_of, found))) == list(dict.fromkeys(map(part_of, SENTENCES)))


def test_every_order_comes() -> None:
    orders = {varied_report(SECTIONS, STATEMENTS, options(0, 1, 1), random_generator(key)) for key in range(300)}
    assert len(orders) > 150
    assert {cut(text)[0] for text in orders} == set(SENTENCES)


def test_short_statements_of_both_signs_come_as_often() -> None:
    texts = [varied_report(SECTIONS, STATEMENTS, options(1, 1, 1), random_generator(key)) for key in range(400)]
    negative = {text for part in STATEMENTS.values() for text in part.negative}
    positive = {text for part in STATEMENTS.values() for text in part.positive}
    assert set(texts) == negative | positive
    assert sum(text in negative for text in texts) == pytest.approx(200, abs=45)


@pytest.mark.parametrize("chance", [0.25, 0.75])
def test_probabilities_are_kept(chance: float) -> None:
    short = [
        len(cut(varied_report(SECTIONS, STATEMENTS, options(chance, 0, 0), random_generator(key)))) == 1 for key in range(600)
    ]
    assert sum(short) / 600 == pytest.approx(chance, abs=0.07)
    same = [varied_report(SECTIONS, STATEMENTS, options(0, chance, 0), random_generator(key)) for key in range(600)]
    assert sum(cut(text) != SENTENCES for text in same) / 600 == pytest.approx(chance, abs=0.07)


def test_the_same_key_gives_the_same_text() -> None:
    config = ReportAugmentConfig()
    first, second = (varied_report(SECTIONS, STATEMENTS, config, random_generator(3, "s")) for _ in range(2))
    assert first == second


def test_reports_without_statements_are_never_shortened_and_blank_ones_are_refused() -> None:
    config = options(1, 0, 0)
    assert varied_report({"findings": "Is stable."}, {}, config, random_generator(0)) == "Is stable."
    only = {"lungs": PartStatements(negative=("No nodule.",))}
    assert varied_report(SECTIONS, only, config, random_generator(0)) == "No nodule."
    with pytest.raises(ValueError, match="blank"):
        varied_report({"findings": " "}, {}, config, random_generator(0))
