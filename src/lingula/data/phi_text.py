"""Report text that looks like a person's name, date or number, found by patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "date", "number", "contact", "age over 89"]


@dataclass(frozen=True)
class Hit:
    """One place of a text.

    Args:
        kind: What it looks like.
        pattern: Which of the patterns found it, in words; never the text itself.
        start: First character.
        end: One past the last.
    """

    kind: Kind
    pattern: str
    start: int
    end: int


_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
_DAY, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:19|20)\d\d"
_NAME = r"[^\W\d_a-z][^\W\d_]*(?:['’\-][^\W\d_]+)*"
"""A word that begins with a capital letter, hyphens and apostrophes inside."""
_REAL = r"(?!XX)"
"""Not the beginning of a placeholder."""
_PERSON = r"patient(?:'s)? name|name of (?:the )?patient|name|patient|surname|physician|radiologist"
_SIGNED = r"dictated|signed|read|reported|interpreted|approved|verified|transcribed"
_NUMBERED = (
    r"MRN|medical record(?: number)?|accession(?: number)?|acc(?: no)?|(?:patient|chart|account|protocol|case|hospital)"
    r" (?:id|no|number)|SSN|NHS(?: number)?"
)
_NAMES = rf"{_NAME}(?:,?[ ]+(?:{_NAME}|[A-Z]\.))*"

_PATTERNS: tuple[tuple[Kind, str, str], ...] = (
    (
        "name",
        "title and name",
        rf"\b(?:(?:Dra?|Mrs?|Ms|Prof|DRA?|MRS?|MS)\b\.?|Doctor|Miss)[ ]+{_REAL}(?:[A-Z]\.[ ]*)*{_NAME}(?:[ ]+{_NAME})?",
    ),
    ("name", "name and degree", rf"\b{_REAL}{_NAME}(?:[ ]+(?:[A-Z]\.?|{_NAME})){{1,2}},?[ ]+(?:M\.?D\.?|D\.O\.|MBBS|FRCR)(?!\w)"),
    ("name", "DICOM name", rf"\b{_REAL}[^\W\d_]{{2,}}\^[^\W\d_]{{2,}}(?:\^[^\W\d_]*)*"),
    (
        "name",
        "labelled name",
        rf"(?i:\b(?:{_PERSON})[ ]*[:=][ ]*){_REAL}{_NAMES}",
    ),
    (
        "name",
        "signature",
        rf"(?i:\b(?:{_SIGNED})(?: electronically)? by:?[ ]+){_REAL}{_NAMES}",
    ),
    ("date", "year first", rf"(?<![\d.\-/]){_YEAR}[-./](?:0?[1-9]|1[0-2])[-./]{_DAY}(?![\d\-/])"),
    ("date", "three numbers", rf"(?<![\d.\-/]){_DAY}([-./]){_DAY}\1(?:{_YEAR}|\d\d)(?![\d\-/]|\.\d)"),
    ("date", "eight digits", rf"(?<![\d.]){_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d|\.\d)"),
    ("date", "month and day", rf"(?i:\b{_MONTH})\.?[ ]+{_DAY}(?:st|nd|rd|th)?(?:,?[ ]+{_YEAR})?(?![\d.,]*\d|[ ]*(?:mm|cm|ml|%))"),
    ("date", "day and month", rf"(?<![\d.]){_DAY}(?:st|nd|rd|th)?[ \-](?i:{_MONTH})\b\.?(?:[ \-,]+(?:{_YEAR}|\d\d)\b)?"),
    ("date", "month and year", rf"(?i:\b{_MONTH})\.?,?[ ]+(?:of[ ]+)?{_YEAR}\b"),
    ("number", "labelled number", rf"(?i:\b(?:{_NUMBERED})\b\.?[ ]*[:#=]*[ ]*)(?=[A-Z\-]*\d)[A-Za-z0-9][A-Za-z0-9\-/]{{2,}}"),
    ("number", "social security number", r"(?<![\d\-])\d{3}-\d{2}-\d{4}(?![\d\-])"),
    ("number", "seven digits or more", r"(?<![\d.,/\-])\d{7,}(?![\d.,/\-]*\d)"),
    ("number", "letters and digits", r"\b(?!C\d{7}\b)[A-Z]{1,4}-?\d{6,}\b"),
    ("contact", "e-mail address", r"\b[\w.+\-]+@[\w\-]+\.[\w.\-]+"),
    ("contact", "web address", r"\b(?:https?://|www\.)\S+"),
    ("contact", "telephone number", r"(?<![\d.\-])(?:\+\d{1,3}[ \-.]?)?(?:\(\d{3}\)[ ]?|\d{3}[\-. ])\d{3}[\-. ]\d{4}(?![\d\-])"),
    ("age over 89", "age over 89", r"(?i)\b(?:9\d|1[01]\d)[ \-]?(?:years?|yrs?|y/?o)\b(?:[ \-]old)?"),
)
PATTERNS: tuple[tuple[Kind, str, re.Pattern[str]], ...] = tuple((kind, name, re.compile(text)) for kind, name, text in _PATTERNS)
"""Kind, name and expression; placeholders of anonymised reports (XXXX, ____, [**...**]) match none of them. Ours.

An age over 89 identifies by the HIPAA Privacy Rule, 45 CFR 164.514(b)(2)(i)(C), as names, dates and numbers do.
"""


def find_phi(text: str) -> list[Hit]:
    """Return what looks like an identifier, by place; of overlapping hits the first, and of those the longest."""
    hits = sorted(_all(text), key=lambda hit: (hit.start, -hit.end))
    kept: list[Hit] = []
    for hit in hits:
        if not kept or hit.start >= kept[-1].end:
            kept.append(hit)
    return kept


def mask_phi(text: str, mark: str = "▇▇▇") -> str:
    """Return the text with everything that `find_phi` finds replaced by a mark."""
    for hit in reversed(find_phi(text)):
        text = text[: hit.start] + mark + text[hit.end :]
    return text


def _all(text: str) -> Iterator[Hit]:
    for kind, name, pattern in PATTERNS:
        for match in pattern.finditer(text):
            yield Hit(kind, name, match.start(), match.end())
