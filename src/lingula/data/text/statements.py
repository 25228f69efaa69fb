"""From a report to short statements, part of the body by part of the body: what it affirms, and what it denies or calls normal.

COLIPRI has a language model do this (arXiv 2510.15042; which one, and its prompts, are not published). The rules here are ours:
they run offline. Statements made elsewhere come in through `lingula.data.text.statement_files`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from lingula.core.config import Config
from lingula.core.wording import capital
from lingula.data.text.anatomy import PARTS, part_of
from lingula.data.text.ct_labeller import split_ct_sentences
from lingula.data.text.labeller import READ_SECTIONS
from lingula.data.text.negation import scopes_of

Sign: TypeAlias = Literal["positive", "negative", "unclear"]
SIGNS: tuple[Sign, ...] = get_args(Sign)


class PartStatements(Config):
    """What a report says of one part of the body, in short sentences."""

    positive: tuple[str, ...] = ()
    """Findings that are there."""
    negative: tuple[str, ...] = ()
    """Findings that are not there, and what is normal."""
    unclear: tuple[str, ...] = ()
    """Sentences of which no rule can tell whether they affirm; nothing is trained on them, and nothing counts as absent here."""


Statements: TypeAlias = dict[str, PartStatements]
"""Part of the body to its statements."""

LONGEST = 200
"""Longest statement in characters; what is longer is no short statement and is left out."""
_LEAD = re.compile(
    r"^(?:when|in|as far as|on|according to)\b[^;:,]{0,80}(?:window|parenchym\w*|evaluat\w*|examin\w*|observed|seen|sections?"
    r"|evaluated)[^;:]{0,30}[;:]\s*",
    re.IGNORECASE,
)
_LIST_MARK = re.compile(r"^(?:\d{1,2}[.)]|[-*\u2022\u00b7])\s*")
_NORMAL = re.compile(
    r"\b(?:normal|natural|unremarkable|open|patent|clear|intact|preserved|midline|symmetrical|(?<!in)homogeneous"
    r"|well[- ](?:aerated|expanded)|angles? (?:is|are) sharp|sharp (?:\w+phrenic )?angles?)\b|^nothing\b",
    re.IGNORECASE,
)
_ABNORMAL = re.compile(r"than normal|normal limits? (?:is|are) exceeded|above normal|increased|enlarged|decreased", re.IGNORECASE)
_NO_FINDING = re.compile(
    r"recommend|correlat|compar(?:ed|ison)|evaluated together|optimal|dated|in the previous|history|follow[- ]?up|learned|underst"
    r"|art[ie]fact|\bmotion\b|images (?:of|were)|^(?:chest |thora\w+ )?(?:ct|computed tomography)(?: (?:of|chest)[\w ]*)?\.?$"
    r"|findings are stable|dimensions are stable|no (?:significant )?(?:change|difference)"
    r"|non-?contrast|lack of contrast|without contrast|unenhanced|cannot be|could not be"
    r"|clinic|laborator|suspicio|could not|not made|differential|significant in terms|sections passing|including sections|\?"
    r"|^ ?(?:it|its|this|these|those|they|is|are|was|were|however|also|and|still|stable)\b",
    re.IGNORECASE,
)
"""Sentences with one of these speak of the examination, of earlier ones, of what to do or of a doubt, or have no subject."""
_WORD = re.compile(r"[a-z]{3,}", re.IGNORECASE)


def report_statements(sections: Mapping[str, str]) -> Statements:
    """Cut a report into short statements by rules; a statement that comes twice comes once.

    Findings, impression, addendum and text without headings are read. A sentence in which something is left open ("possible",
    "may be", a question mark) says nothing either way and gives no statement, nor does one about technique or earlier images;
    neither do those that affirm and deny at once, or are long. They are kept as unclear: they may affirm something.

    >>> found = report_statements({"findings": "No effusion. A 4 mm nodule is observed in the left lung; Heart size is normal."})
    >>> found["lungs"].positive, found["pleura"].negative, found["heart"].negative
    (('A 4 mm nodule is observed in the left lung.',), ('No effusion.',), ('Heart size is normal.',))
    """
    found: dict[str, dict[Sign, dict[str, None]]] = {part: {sign: {} for sign in SIGNS} for part in PARTS}
    for name, text in sections.items():
        if name in READ_SECTIONS:
            for sentence in split_ct_sentences(text):
                for sign, statement in sentence_statements(sentence):
                    found[part_of(statement)][sign][statement] = None
    return {
        part: PartStatements(**{sign: tuple(sentences) for sign, sentences in signs.items()})
        for part, signs in found.items()
        if any(signs.values())
    }


def sentence_statements(sentence: str) -> tuple[tuple[Sign, str], ...]:
    """Return the statements of one sentence with their signs; one that says two things at once may be unclear.

    >>> sentence_statements("When examined in the lung parenchyma window; Bullae are present.")
    (('positive', 'Bullae are present.'),)
    """
    return _remembered(sentence)


def _read(sentence: str) -> tuple[tuple[Sign, str], ...]:
    pieces = _LEAD.sub("", _LIST_MARK.sub("", sentence)).split(";")
    return tuple(found for piece in pieces for found in _signed(piece))


_remembered = lru_cache(maxsize=65536)(_read)


def _signed(piece: str) -> Iterator[tuple[Sign, str]]:
    """Yield the statement of a piece of a sentence with its sign."""
    text = piece.strip(' ,:-."\u201c\u201d')
    if not _WORD.search(text):
        return
    statement, scopes = f"{capital(text)}.", scopes_of(text.lower())
    if len(text) > LONGEST or _NO_FINDING.search(piece) or scopes.left_open:
        yield "unclear", statement
    elif _NORMAL.search(text) and not _ABNORMAL.search(text):
        yield "negative", statement
    elif not scopes.denied:
        yield "positive", statement
    else:
        yield "unclear" if _affirms_too(text, scopes.denied) else "negative", statement


def _affirms_too(text: str, denied: tuple[tuple[int, int], ...]) -> bool:
    """Whether more than a place and the verb stands outside what is denied."""
    rest, place = "", 0
    for start, end in denied:
        rest, place = rest + text[place:start], end
    words = [word for word in _WORD.findall(rest + text[place:]) if word.lower() not in _PLACES]
    return len(words) > 2


_PLACES = frozenset(
    [
        *(
            "the",
            "there",
            "was",
            "were",
            "are",
            "not",
            "has",
            "have",
            "been",
            "with",
            "and",
            "both",
            "bilateral",
            "lung",
            "lungs",
        ),
        *(
            "detected",
            "observed",
            "seen",
            "right",
            "left",
            "upper",
            "lower",
            "middle",
            "lobe",
            "lobes",
            "area",
            "areas",
            "region",
        ),
        *(
            "pathological",
            "size",
            "appearance",
            "dimensions",
            "mediastinal",
            "hilar",
            "axillary",
            "parenchyma",
            "cross",
            "section",
        ),
        *(
            "without",
            "from",
            "that",
            "this",
            "other",
            "apart",
            "distinguishable",
            "borders",
            "any",
            "none",
            "identified",
            "present",
        ),
    ]
)
