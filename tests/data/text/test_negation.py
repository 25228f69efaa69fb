"""Negation and uncertainty: what a sentence says about the word in capitals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.data.text.negation import scopes_of
from lingula.data.text.phrases import PhraseIndex


def said(sentence: str) -> int:
    word = next(word.strip(".,;:") for word in sentence.split() if word.strip(".,;:").isupper() and len(word) > 3)
    start = sentence.index(word)
    return scopes_of(sentence.lower()).assertion(start, start + len(word))


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("There is an EFFUSION.", 1),
        ("No EFFUSION.", 0),
        ("No pneumothorax, consolidation, or EFFUSION.", 0),
        ("No pneumothorax, consolidation, or large pleural EFFUSION is identified.", 0),
        ("The lungs are free of focal CONSOLIDATION.", 0),
        ("Negative for PNEUMOTHORAX.", 0),
        ("EFFUSION is not seen.", 0),
        ("EFFUSION: none.", 0),
        ("The EFFUSION has completely resolved.", 0),
        ("Heart size and vascular ENGORGEMENT appear within limits of normal.", 0),
        ("No change in the EFFUSION.", 1),
        ("No significant interval increase in EFFUSION.", 1),
        ("Not only EFFUSION but atelectasis.", 1),
        ("No effusion but ATELECTASIS at the base.", 1),
        ("No effusion; ATELECTASIS at the base.", 1),
        ("No effusion, and the HEART is large.", 1),
        ("No pneumothorax, CARDIOMEGALY is stable.", 1),
        ("No cardiomegaly with small bilateral EFFUSIONS.", 1),
        ("CARDIOMEGALY without effusion.", 1),
        ("The heart is large and EFFUSION is not seen.", 0),
        ("CARDIOMEGALY is stable and effusion is not seen.", 1),
        ("Possible EFFUSION.", -1),
        ("Opacity may represent PNEUMONIA.", -1),
        ("OPACITY may represent pneumonia.", 1),
        ("OPACITY concerning for pneumonia.", 1),
        ("A small EFFUSION cannot be excluded.", -1),
        ("Cannot entirely exclude EFFUSION.", -1),
        ("Atelectasis versus PNEUMONIA.", -1),
        ("ATELECTASIS versus pneumonia.", -1),
        ("Opacities may be due to INFECTION.", -1),
        ("Evaluation for PNEUMOTHORAX is limited.", -1),
        ("Possible scar without EFFUSION.", 0),
        ("Nodule, known EFFUSION.", 1),
    ],
)
def test_assertions(sentence: str, value: int) -> None:
    assert said(sentence) == value


@given(st.text(max_size=120))
def test_scopes_lie_inside_the_sentence(sentence: str) -> None:
    scopes = scopes_of(sentence.lower())
    assert all(0 <= start <= end <= len(sentence.lower()) for start, end in (*scopes.denied, *scopes.left_open))


def test_phrases_are_found_at_the_start_of_words_longest_first_without_overlap() -> None:
    index = PhraseIndex({"a": ["no", "no change"], "b": [r"(?:left|right)(?: pleural)? effusions?", ";"], "c": ["change"]})
    found = [
        (kind, "no change; node in right pleural effusions"[start:end])
        for kind, start, end in index.find("no change; node in right pleural effusions")
    ]
    assert found == [("a", "no change"), ("b", ";"), ("b", "right pleural effusions")]


@pytest.mark.parametrize("expression", ["[ab]c", "", "(?:x|[y])z", "a"])
def test_an_expression_without_literal_beginning_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="literal"):
        PhraseIndex({"a": [expression]})
