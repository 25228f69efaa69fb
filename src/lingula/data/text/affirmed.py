"""What a report affirms: its sentences without what they deny or call normal."""

from __future__ import annotations

import re
from functools import lru_cache

from lingula.data.text.negation import scopes_of
from lingula.data.text.normalise import normalise_text
from lingula.data.text.sentences import split_sentences

_NORMAL = re.compile(
    r"\b(?:normal|unremarkable|clear|intact|preserved|sharp|well[- ](?:aerated|expanded|inflated)|negative|limits)\b",
    re.IGNORECASE,
)
"""A sentence with one of these tells what is as it should be."""
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_EMPTY = frozenset(
    [
        *("a", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "for", "from", "has", "have", "in", "is", "it"),
        *("of", "on", "or", "other", "otherwise", "that", "the", "there", "these", "this", "those", "to", "was", "were", "which"),
        *("with", "without", "definite", "evidence", "free", "heart", "lungs", "neither", "new", "no", "none", "nor", "not"),
        *("seen", "suggest", "visible", "visualised", "visualized"),
    ]
)
"""Words that say nothing on their own."""


@lru_cache(maxsize=50_000)
def affirmed_text(text: str) -> str:
    """Return the sentences of a report that affirm something, cut where they go on to deny; the whole report if none does.

    Contrastive learning without this pulls an image towards the words of what it does not show: routine reports deny more
    findings than they name.

    Args:
        text: A report or one of its sections.
    """
    parts = [part for part in map(_affirmed_part, split_sentences(text)) if part]
    return normalise_text(" ".join(parts)) or normalise_text(text)


def _affirmed_part(sentence: str) -> str:
    """Return what a sentence says apart from its denials; empty where that is nothing."""
    if _NORMAL.search(sentence):
        return ""
    kept, place = [], 0
    for start, end in scopes_of(sentence.lower()).denied:
        kept.append(sentence[place:start])
        place = end
    kept.append(sentence[place:])
    rest = " ".join(kept).strip()
    return rest if any(word not in _EMPTY for word in _WORD.findall(rest.lower())) else ""
