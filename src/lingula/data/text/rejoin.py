"""Text as it was written, from the words into which a tokeniser of the BERT kind cut it."""

from __future__ import annotations

import re

_INSIDE = re.compile(r"(?<=\w) ?([-/]) ?(?=\w)")
_NUMBER = re.compile(r"(?<=\d) ?([.,]) (?=\d)")
_OPENED, _CLOSED = re.compile(r"([(\[]) "), re.compile(r" ([)\]%:;])")


def rejoin_words(text: str) -> str:
    """Return decoded text without the blanks that the tokeniser put about punctuation.

    Such tokenisers take every mark for a word of its own: "ground-glass" comes back as "ground - glass", and "non-specific" as
    "non - specific", which a reader of findings takes for a denial. A dash that had blanks about it loses them, too: nothing
    tells both apart.

    >>> rejoin_words("ground - glass opacity ( 4. 5 x 3 mm ) and / or non - specific nodules. no effusion.")
    'ground-glass opacity (4.5 x 3 mm) and/or non-specific nodules. no effusion.'
    """
    text = _NUMBER.sub(r"\1", _INSIDE.sub(r"\1", text))
    return _CLOSED.sub(r"\1", _OPENED.sub(r"\1", text))
