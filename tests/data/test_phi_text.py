from __future__ import annotations

import csv
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.data.phi_text import PATTERNS, find_phi, mask_phi
from lingula.data.text.indiana import read_indiana

PLANTED = {
    "title and name": ["Dr. Okonkwo", "Mrs Jane O'Neill", "DR ROJAS", "Doctor Gomez", "Mr. J. Smith-Jones"],
    "name and degree": ["Jane Q. Doe, M.D.", "JOHN DOE MD"],
    "DICOM name": ["DOE^JANE", "Müller^Anna^^Dr"],
    "labelled name": ["Patient name: Jane Doe", "RADIOLOGIST: DOE, JOHN", "Name = Doe"],
    "signature": ["Electronically dictated by Jane Doe", "Signed electronically by: JOHN DOE"],
    "year first": ["2019-03-02", "2019/3/2", "1999.12.31"],
    "three numbers": ["03.02.2020", "3/2/19", "12-31-2019", "31-12-2019"],
    "eight digits": ["20190302"],
    "month and day": ["March 2, 2019", "AUG 31", "Sept. 3rd, 2020"],
    "day and month": ["2 March 2019", "14-JUL-2014", "3rd April 2015"],
    "month and year": ["March 2019", "Dec. of 2020"],
    "labelled number": ["MRN: 12345", "Accession # A-99871", "patient id 4711", "SSN 123-45-6789"],
    "social security number": ["123-45-6789"],
    "seven digits or more": ["4711081", "123456789012"],
    "letters and digits": ["AB1234567", "X-998877"],
    "e-mail address": ["jane.doe@clinic.example"],
    "web address": ["https://pacs.example/study/1", "www.example.org"],
    "telephone number": ["(555) 123-4567", "555-123-4567", "+1 555 123 4567"],
    "age over 89": ["92 year-old", "101-year-old", "90 y/o"],
}
HARMLESS = [
    "XXXX-year-old woman, dated XXXX/XXXX, seen by Dr. XXXX XXXX, MD.",
    "Compared to [**2019-3**] and ___. Patient: XXXX.",
    "Nodule of 12 x 14 mm, 3.5 cm above the carina, at T12 to L1, ratio 1.2.3, 5/10/2 mm.",
    "89-year-old man with 95 pack years; may represent 2 nodules; march of fronts.",
    "The heart size is 12/24. Grade 3 of 4. Series 4, image 112. SpO2 92 %. HU 1024.",
    "No acute disease. MR imaging would help. DR and CT films. PA and lateral views.",
    "FINDINGS: Clear. IMPRESSION: Normal. Reported by telephone. Discussed by phone.",
    "Right upper lobe 1-2-3. Since 2019 unchanged. 120 kV, 3200 mAs, 100000 cells.",
]


def patterns_of(text: str) -> set[str]:
    return {hit.pattern for hit in find_phi(text)}


@pytest.mark.parametrize("pattern", PLANTED)
def test_every_pattern_finds_what_it_is_for(pattern: str) -> None:
    alone = next(expression for _, name, expression in PATTERNS if name == pattern)
    for planted in PLANTED[pattern]:
        text = f"Seen on the film of {planted}. No effusion."
        assert alone.search(text), planted
        assert planted not in mask_phi(text), planted
        assert mask_phi(text).startswith("Seen on the film of"), planted
        assert mask_phi(text).endswith("No effusion."), planted


def test_every_pattern_is_tested() -> None:
    assert set(PLANTED) == {name for _, name, _ in PATTERNS}


@pytest.mark.parametrize("text", HARMLESS)
def test_measures_and_placeholders_are_nobody(text: str) -> None:
    assert find_phi(text) == []


@given(
    words=st.lists(st.sampled_from(["No effusion.", "Nodule of 8 mm.", "XXXX", "Clear lungs;", "T12", "3.5 cm"]), max_size=6),
    planted=st.sampled_from(sorted(text for texts in PLANTED.values() for text in texts)),
    place=st.integers(0, 6),
)
def test_what_is_planted_anywhere_is_masked_and_nothing_else_moves(words: list[str], planted: str, place: int) -> None:
    before, after = " ".join(words[:place]), " ".join(words[place:])
    masked = mask_phi(f"{before}\n{planted}\n{after}")
    assert masked.startswith(f"{before}\n")
    assert masked.endswith(f"\n{after}")
    assert not set(re.findall(r"[A-Za-z]{3,}|\d{3,}", masked)) & set(re.findall(r"[A-Z][a-z]{3,}|\d{3,}", planted)) - {
        "Patient",
        "Electronically",
        "Signed",
        "Accession",
    }


@given(st.text(alphabet="AbX ./-:0129^@drmyMarch,'\n", max_size=80))
def test_hits_are_apart_and_inside_the_text(text: str) -> None:
    hits = find_phi(text)
    assert all(0 <= hit.start < hit.end <= len(text) for hit in hits)
    assert all(before.end <= after.start for before, after in itertools.pairwise(hits))
    assert find_phi(mask_phi(text)) == []


def test_anonymised_reports_hold_nothing(shared: Path) -> None:
    reports = read_indiana(shared / "data/cxr/reports/NLMCXR_reports.tgz")
    assert len(reports) == 3955
    found = [report.name for report in reports if find_phi(" ".join(report.sections.values()))]
    assert found == []


def test_ct_reports_with_dates_are_found(shared: Path) -> None:
    """200 reports of CT-RATE: every one that holds four digits of a year between 2010 and 2023 holds a date."""
    with (shared / "data/ct/reports/ctclip_text_classifier_val.csv").open(encoding="utf-8") as file:
        texts = [row["report_text"] for row in csv.DictReader(file)]
    with_year = {text for text in texts if re.search(r"\b20(1\d|2[0-3])\b", text)}
    found = {text for text in texts if "date" in {hit.kind for hit in find_phi(text)}}
    assert len(found) == 44
    assert len(with_year - found) <= 1
