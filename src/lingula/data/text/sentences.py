"""Cutting a report into sentences."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache

from lingula.data.text.normalise import clean_text

_BLOCK = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:\d{1,2}[.)]|[-*\u2022])[ \t])")
_STOP = re.compile(r"(?<![.!?])[.!?]++[\"')\]\u201d]*+(?=\s|$)|(?<=[a-z0-9)])[.!?](?=[A-Z][a-z]|(?<=[a-z)][.!?])\d{1,2}[.)]\s)")
_NUMBERED = re.compile(r"(?<![^\s.])(\d{1,2})[.)]\s+(?=[A-Z])")
_LAST_WORD = re.compile(r"[^\s(\[\"']+$")
_LIST_NUMBER = re.compile(r"\s*(?:[A-Za-z]+:\s*)?[(\[]?\d{1,2}$")
REMEMBERED = 20_000
"""Longest text in characters whose sentences are remembered; real reports have fewer than 5,000."""
WINDOW = 96
"""Characters before a full stop that decide what it is: time stays proportional to the length of the text."""
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


def split_sentences(text: str) -> list[str]:
    """Cut a report into normalised sentences, in order; nothing but white space is lost.

    A blank line and a new list item end a sentence; a decimal point, an abbreviation ("Dr. X", "No. 3", "e.g.") and the
    stop behind a list number ("1. Normal heart.") do not.

    >>> split_sentences("1. Nodule of 1.5 cm, cf. image No. 3. 2. No effusion.")
    ['1. Nodule of 1.5 cm, cf. image No. 3.', '2. No effusion.']
    """
    return list(_sentences(text))


def _sentences(text: str) -> tuple[str, ...]:
    return _remembered(text) if len(text) <= REMEMBERED else _cut(text)


def _cut(text: str) -> tuple[str, ...]:
    sentences: list[list[str]] = []
    for block in _BLOCK.split(clean_text(text)):
        for piece in (piece for item in _list_items(block) for piece in _split_block(item)):
            if sentences and not any(map(str.isalnum, piece)):
                sentences[-1].append(piece)
            else:
                sentences.append([piece])
    return tuple(" ".join(pieces) for pieces in sentences)


_remembered = lru_cache(maxsize=65536)(_cut)


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
    before = block[max(start, stop.start() - WINDOW) : stop.start()]
    if stop.start() - start < WINDOW and _LIST_NUMBER.match(before):
        return False
    last = _LAST_WORD.search(before)
    word = last.group().lower() if last else ""
    if word in _NEVER_LAST or (word in _BEFORE_NUMBER and (rest[0].isdigit() or rest[0] == "#")):
        return False
    goes_on = rest[0].islower() or rest[0] in ",;)"
    return not (goes_on and (word in _SELDOM_LAST or (len(word) == 1 and word.isalpha())))
