"""Sentences, normalisation and views of a report."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.data.text.normalise import normalise_text
from lingula.data.text.sentences import split_sentences
from lingula.data.text.views import TextView, choose_view, text_views

WORDS = ["Heart normal.", "No. 3", "1.", "2.", "1.5 cm", "Dr. X", "e.g.", "no effusion", "É."]
PIECES = st.sampled_from([*WORDS, "\n", "\n\n", "?", "...", "-", " ", "\x00", "\u200b"])
REPORTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=12).map(" ".join))
KINDS: list[TextView] = ["report", "sentence", "mixed"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Heart is normal. Lungs are clear.", ["Heart is normal.", "Lungs are clear."]),
        ("A 1.5 x 2.0 cm nodule. No effusion.", ["A 1.5 x 2.0 cm nodule.", "No effusion."]),
        ("Compare image No. 3 of today. Stable.", ["Compare image No. 3 of today.", "Stable."]),
        ("Effusion? No. Heart normal.", ["Effusion?", "No.", "Heart normal."]),
        ("Discussed with Dr. Smith at 5 p.m. by phone. Stable.", ["Discussed with Dr. Smith at 5 p.m. by phone.", "Stable."]),
        ("Seen by Dr. X. who agrees.", ["Seen by Dr. X. who agrees."]),
        ("1. Normal heart. 2. No effusion.", ["1. Normal heart.", "2. No effusion."]),
        ("1. Low volumes 2. No effusion 3. Stable", ["1. Low volumes", "2. No effusion", "3. Stable"]),
        ("Impression: 1. Stable.", ["Impression: 1. Stable."]),
        ("Fracture of rib 7. No effusion.", ["Fracture of rib 7.", "No effusion."]),
        ("Wedging of T12. No effusion.", ["Wedging of T12.", "No effusion."]),
        ("Tube ends 3.5 cm. above the carina.", ["Tube ends 3.5 cm. above the carina."]),
        ("Nodule of 2 cm. No effusion.", ["Nodule of 2 cm.", "No effusion."]),
        ("FINDINGS:\nHeart is\nnormal\n\nLungs clear", ["FINDINGS: Heart is normal", "Lungs clear"]),
        ("Impression\n- effusion\n- oedema", ["Impression", "- effusion", "- oedema"]),
        ("heart normal. lungs clear.", ["heart normal.", "lungs clear."]),
        ("Heart normal.Lungs clear.", ["Heart normal.", "Lungs clear."]),
        ("No pneumonia. .", ["No pneumonia. ."]),
        ("Opacities, e.g. nodules, vs. scars.", ["Opacities, e.g. nodules, vs. scars."]),
        ("(Stable.) Really... yes!", ["(Stable.)", "Really...", "yes!"]),
        ("", []),
        (" \n\t\x00", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(REPORTS)
def test_nothing_but_white_space_is_lost(text: str) -> None:
    joined = "".join("".join(split_sentences(text)).split())
    assert joined == "".join(normalise_text(text).split())


@given(REPORTS)
def test_sentences_are_normalised_and_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise_text(normalise_text(text)) == normalise_text(text)
    assert all(sentence and sentence == normalise_text(sentence) for sentence in split_sentences(text))


@given(st.text(max_size=60))
def test_normalised_text_is_one_line_of_visible_characters(text: str) -> None:
    clean = normalise_text(text)
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in clean)
    assert clean.strip() == clean
    assert "  " not in clean


def test_the_same_text_in_two_spellings_becomes_one() -> None:
    assert normalise_text("cafe\u0301\r\nx\u00a0 y\ufeff") == normalise_text("café x y") == "café x y"


@given(REPORTS, st.sampled_from(KINDS), st.integers(0, 5))
def test_the_chosen_view_is_always_one_of_the_views(text: str, kind: TextView, seed: int) -> None:
    views = text_views(text, kind)
    assert len(set(views)) == len(views)
    if views:
        assert choose_view(text, kind, np.random.default_rng(seed)) in views
    else:
        assert not normalise_text(text)
        with pytest.raises(ValueError, match="blank"):
            choose_view(text, kind, np.random.default_rng(seed))


def test_mixed_is_half_the_report_and_otherwise_each_sentence_alike() -> None:
    text = "Heart normal. Lungs clear. No effusion."
    generator = np.random.default_rng(0)
    chosen = [choose_view(text, "mixed", generator) for _ in range(4000)]
    assert chosen.count(text) / 4000 == pytest.approx(0.5, abs=0.03)
    for sentence in split_sentences(text):
        assert chosen.count(sentence) / 4000 == pytest.approx(1 / 6, abs=0.025)


def test_views_of_a_report() -> None:
    text = " Clear.  No effusion. Clear. "
    assert text_views(text, "report") == ["Clear. No effusion. Clear."]
    assert text_views(text, "sentence") == ["Clear.", "No effusion."]
    assert text_views(text, "mixed") == ["Clear. No effusion. Clear.", "Clear.", "No effusion."]


def test_real_reports_lose_nothing_and_are_not_slow_by_an_order_of_magnitude(shared: Path) -> None:
    texts = []
    with tarfile.open(shared / "data/cxr/reports/NLMCXR_reports.tgz") as archive:
        for member in list(archive)[:400]:
            file = archive.extractfile(member)
            if file is not None:
                root = ElementTree.parse(file).getroot()
                texts.append(" ".join(part.text or "" for part in root.iter("AbstractText")))
    begun = time.process_time()
    sentences = [split_sentences(text) for text in texts]
    assert (time.process_time() - begun) / len(texts) < 5e-3
    assert ["".join("".join(part).split()) for part in sentences] == ["".join(text.replace("<BR>", "").split()) for text in texts]
    assert 3 < np.mean([len(part) for part in sentences]) < 12
