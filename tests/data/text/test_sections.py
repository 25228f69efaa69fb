"""Sections of reports: headings of many kinds, the last-paragraph fallback, real reports against their own tags."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.data.text.headings import section_of, section_of_typo
from lingula.data.text.indiana import IndianaReport, read_indiana
from lingula.data.text.layouts import LAYOUTS, misspell
from lingula.data.text.normalise import normalise_text
from lingula.data.text.sections import parse_report, parse_sections

WORDS = [
    "FINDINGS:",
    "Impression",
    "IMPRESSION:",
    "Comparison:",
    "Lungs:",
    "clear.",
    "No effusion.",
    "1.",
    "- ",
    ":",
    "**Findings:**",
]
REPORTS = st.one_of(
    st.text(max_size=80), st.lists(st.sampled_from([*WORDS, "\n", "\n\n", "  ", "\x00", "<br>"]), max_size=20).map(" ".join)
)


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("FINDINGS: Clear. IMPRESSION: Normal.", {"findings": "Clear.", "impression": "Normal."}),
        ("Findings\nClear\n\nImpression\nNormal", {"findings": "Clear", "impression": "Normal"}),
        ("INDICATION: Positive TB test FINDINGS: Clear", {"indication": "Positive TB test", "findings": "Clear"}),
        ("Indication: cough Findings: Clear", {"indication": "cough", "findings": "Clear"}),
        ("FINDINGS - Clear\nIMPRESSION 1. Normal", {"findings": "Clear", "impression": "1. Normal"}),
        ("**FINDINGS:** Clear\n__IMPRESSION:__ Normal", {"findings": "Clear", "impression": "Normal"}),
        ("TECHNIQUE (2 views): PA.\nCONCLUSION: Normal", {"technique": "PA.", "impression": "Normal"}),
        ("FINDNGS: Clear\nImpresion: Normal", {"findings": "Clear", "impression": "Normal"}),
        ("Reason for exam: cough\\.br\\FINDINGS: Clear", {"indication": "cough", "findings": "Clear"}),
        ("FINDINGS: Lungs: Clear. Heart: Normal.", {"findings": "Lungs: Clear. Heart: Normal."}),
        ("FINDINGS: Clear\nRead at 10:30, see http://x", {"findings": "Clear\nRead at 10:30, see http://x"}),
        ("FINDINGS: A.\nIMPRESSION: B.\nFINDINGS: C.", {"findings": "A.\n\nC.", "impression": "B."}),
        ("FINDINGS: Clear\nSigned by Dr. X, 3:15 PM", {"findings": "Clear", "signature": "Dr. X, 3:15 PM"}),
        (
            "XR CHEST\n\nThe lungs are clear.\nIMPRESSION: Normal.",
            {"header": "XR CHEST", "findings": "The lungs are clear.", "impression": "Normal."},
        ),
        ("The findings: none of note.", {"text": "The findings: none of note."}),
        ("Findings suggest pneumonia.", {"text": "Findings suggest pneumonia."}),
        ("SHADOW OVER PRIOR STUDY: STABLE", {"text": "SHADOW OVER PRIOR STUDY: STABLE"}),
        (
            "Lungs clear.\n\nHeart normal.\n\nNo disease.",
            {"findings": "Lungs clear.\n\nHeart normal.", "impression": "No disease."},
        ),
        ("Lungs clear.\nNo disease.", {"findings": "Lungs clear.", "impression": "No disease."}),
        ("Lungs are\nclear.", {"text": "Lungs are\nclear."}),
        (
            "CHEST PA\n\nLungs clear.\n\nNo disease.",
            {"header": "CHEST PA", "findings": "Lungs clear.", "impression": "No disease."},
        ),
        (
            "COMPARISON: None.\n\nLungs clear.\n\nNormal.",
            {"comparison": "None.", "findings": "Lungs clear.", "impression": "Normal."},
        ),
        ("COMPARISON: None.\n\nLungs clear.", {"comparison": "None.", "text": "Lungs clear."}),
        ("INDICATION: Cough.", {"indication": "Cough."}),
        ("FINDINGS:", {}),
        (" \n\x00", {}),
    ],
)
def test_sections(text: str, sections: dict[str, str]) -> None:
    assert parse_sections(text) == sections


@given(REPORTS)
def test_nothing_but_white_space_is_lost_and_order_is_kept(text: str) -> None:
    parts = parse_report(text)
    joined = "".join(f"{part.heading}{part.text}" for part in parts)
    assert "".join(joined.split()) == "".join(normalise_text(text).split())


def test_a_wrong_letter_is_forgiven_but_other_words_are_no_headings() -> None:
    chance = random.Random(0)
    for heading in ("FINDINGS", "IMPRESSION", "COMPARISON", "INDICATION"):
        assert {section_of_typo(misspell(heading, chance)) for _ in range(50)} == {section_of(heading)}
    for word in ("Mediastinum", "Impressive", "Technologist", "Lungs", "Indicated", "Conclusive", "Compression", "Fixation"):
        assert not section_of_typo(word)


@pytest.fixture(scope="module")
def indiana(shared: Path) -> list[IndianaReport]:
    return read_indiana(shared / "data/cxr/reports/NLMCXR_reports.tgz")


@pytest.mark.parametrize(
    ("layout", "least"),
    [
        *((layout, 0.999) for layout in LAYOUTS if not layout.startswith(("no headings", "wrapped"))),
        ("wrapped at 78, title, signature", 0.993),
        ("no headings, blank line between", 0.998),
        ("no headings, one line each", 0.93),
    ],
)
def test_real_reports_come_back_with_both_sections_as_their_xml_has_them(
    indiana: list[IndianaReport], layout: str, least: float
) -> None:
    reports = [report for report in indiana if {"findings", "impression"} <= set(report.sections)]
    assert len(reports) == 3419
    right = 0
    for report in reports:
        found = parse_sections(LAYOUTS[layout](report.sections, random.Random(report.name)))
        case = str.upper if layout.startswith("all capitals") else str
        right += all(normalise_text(found.get(name, "")) == case(report.sections[name]) for name in ("findings", "impression"))
    assert right / len(reports) >= least


def test_parsing_is_not_slow_by_an_order_of_magnitude(indiana: list[IndianaReport]) -> None:
    texts = [LAYOUTS["one line, capital headings"](report.sections, random.Random(0)) for report in indiana]
    begun = time.process_time()
    for text in texts:
        parse_sections(text)
    assert (time.process_time() - begun) / len(texts) < 5e-3
