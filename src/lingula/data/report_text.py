"""Report text: normalising it, cutting it into sentences, and the views of it that training sees."""

from __future__ import annotations

import itertools
import re
import unicodedata
from functools import lru_cache
from typing import Literal

import numpy as np

TextView = Literal["report", "sentence", "mixed"]
"""The whole report, one of its sentences, or either with equal chance."""

_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"
_INVISIBLE = re.compile(rf"[{_CONTROL}\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufffd]")
_BLOCK = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:\d{1,2}[.)]|[-*\u2022])[ \t])")
_STOP = re.compile(r"[.!?]+[\"')\]\u201d]*(?=\s|$)|(?<=[a-z0-9)])[.!?](?=[A-Z][a-z]|(?<=[a-z)][.!?])\d{1,2}[.)]\s)")
_NUMBERED = re.compile(r"(?<![^\s.])(\d{1,2})[.)]\s+(?=[A-Z])")
_LAST_WORD = re.compile(r"[^\s(\[\"']+$")
_LIST_NUMBER = re.compile(r"\s*(?:[A-Za-z]+:\s*)?[(\[]?\d{1,2}$")
_NEVER_LAST = frozenset(
    {"dr", "drs", "mr", "mrs", "ms", "prof", "st", "vs", "e.g", "eg", "i.e", "ie", "approx", "cf", "resp", "incl"}
)
"""Abbreviations that something always follows."""
_BEFORE_NUMBER = frozenset({"no", "nos", "nr", "fig", "figs", "vol", "p", "pp", "ca", "series", "image", "images", "img"})
"""Abbreviations of a number, but only where one follows ("No. 3"); otherwise they are words that can end a sentence."""
_SELDOM_LAST = frozenset(
    {
        "etc",
        "al",
        "a.m",
        "p.m",
        "cm",
        "mm",
        "ml",
        "hr",
        "hrs",
        "min",
        "sec",
        "wk",
        "yr",
        "yrs",
        "mo",
        "ant",
        "post",
        "lat",
        "sup",
        "inf",
        "dept",
        "temp",
        "max",
    }
)
"""Abbreviations that end a sentence only where the next word has a capital letter."""


def normalise_text(text: str) -> str:
    r"""Return the text in Unicode NFC, without control or invisible characters, every run of white space as one space.

    >>> normalise_text(" No\u00a0acute\r\n disease.\x00 ")
    'No acute disease.'
    """
    return " ".join(_clean(text).split())


def split_sentences(text: str) -> list[str]:
    """Cut a report into normalised sentences, in order; nothing but white space is lost.

    A blank line and a new list item end a sentence; a decimal point, an abbreviation ("Dr. X", "No. 3", "e.g.") and the
    stop behind a list number ("1. Normal heart.") do not.

    >>> split_sentences("1. Nodule of 1.5 cm, cf. image No. 3. 2. No effusion.")
    ['1. Nodule of 1.5 cm, cf. image No. 3.', '2. No effusion.']
    """
    return list(_sentences(text))


def text_views(text: str, kind: TextView) -> list[str]:
    """List every distinct text that `choose_view` can return for a report; empty for a blank report.

    Args:
        text: The report.
        kind: `report`, `sentence`, or `mixed` (the report first, then its sentences).
    """
    whole = normalise_text(text)
    if not whole:
        return []
    parts = {"report": [whole], "sentence": _sentences(text), "mixed": [whole, *_sentences(text)]}[kind]
    return list(dict.fromkeys(parts))


def choose_view(text: str, kind: TextView, generator: np.random.Generator) -> str:
    """Choose the text that a sample is trained with, always one of `text_views`.

    Args:
        text: The report.
        kind: `report` (no choice), `sentence` (uniform over the sentences) or `mixed` (half the time either).
        generator: Source of randomness, keyed by the caller to seed, epoch and sample.

    Raises:
        ValueError: The report is blank.
    """
    if kind == "report" or (kind == "mixed" and generator.random() < 0.5):
        views: tuple[str, ...] = tuple(text_views(text, "report"))
    else:
        views = _sentences(text)
    if not views:
        raise ValueError("a blank report has no view")
    return views[int(generator.integers(len(views)))] if len(views) > 1 else views[0]


@lru_cache(maxsize=65536)
def _sentences(text: str) -> tuple[str, ...]:
    sentences: list[str] = []
    for block in _BLOCK.split(_clean(text)):
        for piece in (piece for item in _list_items(block) for piece in _split_block(item)):
            if sentences and not any(map(str.isalnum, piece)):
                sentences[-1] += f" {piece}"
            else:
                sentences.append(piece)
    return tuple(sentences)


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _INVISIBLE.sub("", text)


def _list_items(block: str) -> list[str]:
    """Cut before the numbers of a list that counts from 1 to at least 2, whether or not a stop precedes them."""
    starts: list[int] = []
    for number in _NUMBERED.finditer(block):
        if int(number.group(1)) == len(starts) + 1:
            starts.append(number.start())
    if len(starts) < 2:
        return [block]
    return [block[begin:end] for begin, end in itertools.pairwise([0, *starts, len(block)])]


def _split_block(block: str) -> list[str]:
    pieces, start = [], 0
    for stop in _STOP.finditer(block):
        if _ends_sentence(block, start, stop):
            pieces.append(block[start : stop.end()])
            start = stop.end()
    pieces.append(block[start:])
    return [joined for piece in pieces if (joined := " ".join(piece.split()))]


def _ends_sentence(block: str, start: int, stop: re.Match[str]) -> bool:
    """Decide whether a full stop between `start` and the end of the block ends a sentence."""
    rest = block[stop.end() : stop.end() + 24].lstrip()
    if not rest or stop.group() != ".":
        return True
    before = block[start : stop.start()]
    if _LIST_NUMBER.match(before):
        return False
    last = _LAST_WORD.search(before)
    word = last.group().lower() if last else ""
    if word in _NEVER_LAST or (word in _BEFORE_NUMBER and (rest[0].isdigit() or rest[0] == "#")):
        return False
    goes_on = rest[0].islower() or rest[0] in ",;)"
    return not (goes_on and (word in _SELDOM_LAST or (len(word) == 1 and word.isalpha())))
