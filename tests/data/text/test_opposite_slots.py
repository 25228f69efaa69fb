"""Slots of the opposite-sentence loss: how many are true, false and empty, and whose statements may be called false."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.core.randomness import random_generator
from lingula.data.text.ct_labeller import label_ct_report
from lingula.data.text.ct_rate import read_ct_reports
from lingula.data.text.opposite import opposite_of
from lingula.data.text.opposite_slots import EMPTY, StatementBank
from lingula.data.text.sections import parse_sections
from lingula.data.text.statements import PartStatements, Statements, report_statements

REPORTS = "data/ct/reports/ctclip_text_classifier_{}.csv"


def said(**parts: list[str]) -> Statements:
    return {name: PartStatements(positive=tuple(texts)) for name, texts in parts.items()}


STUDIES = [
    ("a", said(lungs=["A nodule.", "Emphysema."], heart=["Cardiomegaly."])),
    ("b", said(pleura=["Effusion."], lungs=["A nodule."])),
    ("c", said(bones=["Fracture."], abdomen=["Cyst.", "Stone."], other=["Shunt."])),
    ("c", said(pleura=["Plaque."])),
]
BANK = StatementBank(STUDIES)


@pytest.mark.parametrize(("count", "true", "false"), [(8, 3, 4), (2, 1, 1), (3, 2, 1), (1, 1, 0), (20, 3, 5)])
def test_numbers_of_slots(count: int, true: int, false: int) -> None:
    """Patient a has 3 positives; parts without one have 5 of other patients (of `other` none, which is no part)."""
    slots = BANK.slots(STUDIES[0][1], "a", count, random_generator(0))
    labels = [slot.label for slot in slots]
    assert (labels.count(1), labels.count(0), labels.count(-1)) == (true, false, count - true - false)
    assert len({slot.statement for slot in slots if slot.label >= 0}) == true + false, "none comes twice"


@given(key=st.integers(0, 2**32), number=st.integers(0, 3), count=st.integers(0, 9))
def test_what_is_true_is_said_and_what_is_false_is_another_patients_in_a_silent_part(key: int, number: int, count: int) -> None:
    patient, statements = STUDIES[number]
    own = {text for part in statements.values() for text in part.positive}
    slots = BANK.slots(statements, patient, count, random_generator(key))
    assert len(slots) == count
    for slot in slots:
        if slot == EMPTY:
            continue
        assert slot.opposite == opposite_of(slot.statement)
        if slot.label == 1:
            assert slot.statement in own
            continue
        speakers = {who for who, other in STUDIES for part, known in other.items() if slot.statement in known.positive}
        parts = {part for _, other in STUDIES for part, known in other.items() if slot.statement in known.positive}
        assert speakers != {patient}
        assert not any(part in statements and statements[part].positive for part in parts)


def test_a_normal_report_has_false_slots_only_and_an_empty_bank_none() -> None:
    normal = {"lungs": PartStatements(negative=("No nodule.",))}
    assert [slot.label for slot in BANK.slots(normal, "d", 4, random_generator(0))] == [0, 0, -1, -1]
    drawn = {slot.statement for key in range(40) for slot in BANK.slots(normal, "d", 4, random_generator(key))}
    assert {"A nodule.", "Emphysema."} <= drawn, "a part of which only normal things are said has no positive finding"
    assert StatementBank([]).slots(normal, "d", 3, random_generator(0)) == [EMPTY] * 3
    assert StatementBank([("d", normal)]).slots({}, "d", 2, random_generator(0)) == [EMPTY] * 2


def test_nothing_is_called_false_in_a_part_of_which_a_sentence_is_unclear() -> None:
    """A report that says "No nodule, but consolidation" has no statement of it, and must not be told that it has none."""
    mixed = {"lungs": PartStatements(unclear=("No nodule, but consolidation.",), negative=("No emphysema.",))}
    drawn = {slot.statement for key in range(40) for slot in BANK.slots(mixed, "d", 8, random_generator(key))}
    assert "Cardiomegaly." in drawn
    assert not drawn & {"A nodule.", "Emphysema."}


def test_nothing_is_called_false_that_another_part_names() -> None:
    """The rules may give a sentence of effusion to the lungs; another patient's effusion is no false sentence then."""
    bank = StatementBank([("b", said(pleura=["Pleural effusion is seen.", "Pleural thickening."]))])
    for sign in ("positive", "unclear"):
        own = {"lungs": PartStatements(**{sign: ("Atelectasis beside a large pleural effusion.",)})}
        slots = bank.slots(own, "a", 4, random_generator(0))
        assert [slot.statement for slot in slots if slot.label == 0] == ["Pleural thickening."]
    other = bank.slots({"lungs": PartStatements(positive=("A nodule.",))}, "a", 4, random_generator(0))
    assert {slot.statement for slot in other if slot.label == 0} == {"Pleural effusion is seen.", "Pleural thickening."}


def test_a_study_whose_statements_are_not_known_has_empty_slots() -> None:
    assert BANK.slots(None, "d", 3, random_generator(0)) == [EMPTY] * 3


def test_false_sentences_seldom_name_what_a_real_report_affirms(shared: Path) -> None:
    """By the labels of CT-RATE: 0.2 % of those that name a finding, with 1,000 reports in the bank.

    It would be 8.4 % if only what is affirmed in the same part of the body were heeded, and 6.7 % with what is unclear there.
    """
    reports = [each for part in ("train", "val") for each in read_ct_reports(shared / REPORTS.format(part))]
    statements = [report_statements(parse_sections(report.text)) for report in reports]
    bank = StatementBank((str(number), each) for number, each in enumerate(statements))
    named = wrong = 0
    for number, report in enumerate(reports):
        for slot in bank.slots(statements[number], str(number), 8, random_generator(0, str(number))):
            found = {name for name, value in label_ct_report(slot.statement).items() if value == 1 and slot.label == 0}
            named += bool(found)
            wrong += any(report.labels[name] == 1 for name in found)
    assert named > 2000
    assert wrong / named < 0.005


def test_a_patients_other_study_is_never_called_false() -> None:
    bank = StatementBank(
        [("a", said(pleura=[f"Finding {number}." for number in range(300)])), ("b", said(heart=["Cardiomegaly."]))]
    )
    for key in range(20):
        slots = bank.slots({}, "a", 6, random_generator(key))
        assert [slot.statement for slot in slots if slot.label == 0] == ["Cardiomegaly."]


def test_all_candidates_are_drawn_alike() -> None:
    counts: dict[str, int] = {}
    for key in range(600):
        for slot in BANK.slots(STUDIES[0][1], "a", 2, random_generator(key)):
            counts[slot.statement] = counts.get(slot.statement, 0) + 1
    assert set(counts) == {"A nodule.", "Emphysema.", "Cardiomegaly.", "Effusion.", "Plaque.", "Fracture.", "Cyst.", "Stone."}
    assert all(math.isclose(counts[text], 200, rel_tol=0.25) for text in ("A nodule.", "Emphysema.", "Cardiomegaly."))
    assert all(math.isclose(counts[text], 120, rel_tol=0.35) for text in ("Effusion.", "Plaque.", "Fracture.", "Cyst.", "Stone."))
