"""The opposite of a short statement: the sentence that denies what it affirms.

The rules follow the "opposed sentence transform" that others report of COLIPRI (arXiv 2510.15042, its algorithm 1; the paper's
own text was not at hand). Ours, as the sentences of real reports need them, are places before the subject, and the past tense.
"""

from __future__ import annotations

import re

from lingula.core.wording import capital

_NUMBER = r"(?:an?|some|several|multiple|many|a few|few|two|three|one)"
_THERE = re.compile(
    rf"^(?P<lead>.{{0,120}}?,? ?)\b(?P<there>there (?:is|are|was|were))(?: also)? (?:{_NUMBER} )?(?P<rest>.+)$", re.IGNORECASE
)
_SEEN = (
    r"(?:present|seen|noted|observed|detected|identified|found|visuali[sz]ed|demonstrated|evident|available|noticed|remarkable)"
)
_THE = re.compile(
    r"^(?P<subject>the [^,]{1,80}?) (?P<verb>is|are|was|were|has been|have been|appears?|appeared|shows?|showed"
    r"|contains?|contained) (?P<rest>.+)$",
    re.IGNORECASE,
)
_IS_SEEN = re.compile(
    r"^(?P<lead>(?:in|on|at|within|along|adjacent|around|apart|besides) [^;]{0,120}?, |in addition,? |additionally,? )?"
    rf"(?:{_NUMBER} )?(?P<rest>.*?\b(?:is|are|was|were)(?: also)? {_SEEN}\b.*)$",
    re.IGNORECASE,
)
_COUNT = re.compile(rf"^{_NUMBER} ", re.IGNORECASE)
_AUXILIARY = {"is", "are", "was", "were"}
_BARE = {
    **{"appears": "does not appear", "appear": "do not appear", "appeared": "did not appear"},
    **{"shows": "does not show", "show": "do not show", "showed": "did not show"},
    **{"contains": "does not contain", "contain": "do not contain", "contained": "did not contain"},
    **{"has been": "has not been", "have been": "have not been"},
}


def opposite_of(statement: str) -> str:
    """Return the sentence that denies an affirmative one.

    In this order: "there is (a) X" becomes "there is no X"; "the X is (appears, shows) Y" becomes "the X is not (does not appear,
    does not show) Y"; "X is present (seen, noted, observed, ...)" becomes "no X is present"; anything else gets "No" before it.

    >>> [opposite_of(text) for text in ("There is a nodule.", "The heart is enlarged.", "A cyst is seen.", "Hiatal hernia.")]
    ['There is no nodule.', 'The heart is not enlarged.', 'No cyst is seen.', 'No hiatal hernia.']
    """
    text = statement.strip()
    if there := _THERE.match(text):
        return f"{there['lead']}{there['there']} no {there['rest']}"
    if the := _THE.match(text):
        verb = the["verb"].lower()
        denied = f"{the['verb']} not" if verb in _AUXILIARY else _BARE[verb]
        return f"{the['subject']} {denied} {the['rest']}"
    if seen := _IS_SEEN.match(text):
        return capital(f"{seen['lead'] or ''}no {_small(seen['rest'])}")
    return f"No {_small(_COUNT.sub('', text))}"


def _small(text: str) -> str:
    """Begin with a small letter, unless the first word is an abbreviation."""
    first = text.split(" ", 1)[0]
    return text if any(map(str.isupper, first[1:])) or any(map(str.isdigit, first)) else f"{text[:1].lower()}{text[1:]}"
