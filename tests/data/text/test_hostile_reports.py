"""Reports that no radiologist wrote: empty, endless, not text; each with a defined outcome and in bounded time."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lingula.data.text.duplicates import template_key
from lingula.data.text.labeller import label_report
from lingula.data.text.layouts import VARIANTS
from lingula.data.text.lexicon import FINDINGS
from lingula.data.text.normalise import normalise_text
from lingula.data.text.sections import parse_report
from lingula.data.text.sentences import split_sentences

PHRASES = (
    *(
        "No",
        "pleural effusion",
        "may represent",
        "pneumonia",
        "versus",
        "is not seen",
        "heart is enlarged",
        "cannot exclude",
        "but",
    ),
    *(
        "1.5 cm",
        "No. 3",
        "Dr. X",
        "e.g.",
        "1.",
        "2)",
        "XXXX",
        "FINDINGS:",
        "Impression",
        "COMPARISON -",
        "Signed by",
        "findings",
        ":",
    ),
    *(heading for headings in VARIANTS.values() for heading in headings),
)
JUNK = st.text(max_size=24) | st.binary(max_size=24).map(lambda raw: raw.decode("latin-1"))
PIECES = (
    st.sampled_from((*PHRASES, ".", "..", "?", ";", ",", "\n", "\n\n", "\r\n", "\t", "\x00", "\u202e", "<br>", "\\.br\\", "**"))
    | JUNK
)
REPORTS = st.lists(PIECES, max_size=60).flatmap(lambda parts: st.sampled_from(["", " "]).map(lambda glue: glue.join(parts)))


def check(text: str) -> str:
    """Sections and sentences hold the whole text in its order; labels are what labels may be. Return what came of it."""
    visible = "".join(normalise_text(text).split())
    assert "".join("".join(part.heading + part.text for part in parse_report(text)).split()) == visible
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == visible
    assert all(sentence == normalise_text(sentence) for sentence in sentences)
    labels = label_report(text)
    assert tuple(labels) == FINDINGS
    assert set(labels.values()) <= {1, 0, -1, None}
    assert all(template_key(text)) or not visible
    if not visible:
        return "nothing to see"
    found = any(value is not None for value in labels.values())
    return f"{'several sections' if len(parse_report(text)) > 1 else 'one section'}, {'with' if found else 'without'} a finding"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REPORTS)
def test_generated_reports(text: str) -> None:
    check(text)


@pytest.mark.soak
def test_twelve_thousand_generated_reports() -> None:
    outcomes = Counter[str]()

    @settings(max_examples=12_000, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(REPORTS)
    def count(text: str) -> None:
        outcomes[check(text)] += 1

    count()
    print(f"{outcomes.total()} generated reports: {dict(outcomes.most_common())}")
    assert outcomes.total() >= 10_000
    assert len(outcomes) == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00\x07\x1b[31m",
        "\ud800 lone surrogate",
        "No effusion. " * 5_000,
        "effusion " * 10_000,
        "e.g. " * 20_000,
        ". " * 50_000,
        "." * 100_000 + "x",
        "a" * 100_000,
        "(" * 100_000,
        "\n" * 100_000,
        " " * 100_000 + "x",
        "IMPRESSION: " * 10_000,
        ":" * 100_000,
        "1. A " * 20_000,
        "no may effusion is not seen and " * 5_000,
        "heart " * 20_000,
        "*" * 100_000,
        "FINDINGS" + " " * 100_000 + "(x",
    ],
    ids=lambda text: f"{len(text)}-{text[:10]!r}",
)
def test_hostile_reports_take_under_three_seconds(text: str) -> None:
    begun = time.process_time()
    check(text)
    assert time.process_time() - begun < 3
