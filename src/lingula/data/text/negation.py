"""What a sentence says about a phrase in it: affirmed, denied or left open (after NegEx and ConText).

Chapman et al., "A simple algorithm for identifying negated findings and diseases in discharge summaries", J Biomed Inform 2001;
Harkema et al., "ConText", J Biomed Inform 2009. A cue before the phrase reaches forward to the next termination, a cue behind it
reaches back; a pseudo-cue ("no change in") looks like one and is none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from lingula.data.text.phrases import PhraseIndex

Assertion = Literal[1, 0, -1]
"""1 affirmed, 0 denied, -1 left open."""

_SEEN = r"(?:seen|identified|noted|present|visuali[sz]ed|evident|demonstrated|appreciated|detected|observed|apparent|shown|found)"
_IS = r"(?:is|are|was|were|has been|have been|being)"
_SURELY = r"(?:(?:definitely|clearly|entirely|completely|otherwise|now|since) )?"
_EXCLUDED = r"(?:excluded?|rule out|ruled out)"

PSEUDO = (
    r"no (?:significant |definite |acute |appreciable )?(?:interval )?(?:change|increase|decrease|worsening|improvement)",
    r"without (?:significant |definite )?(?:interval )?(?:change|increase|decrease)",
    r"not (?:significantly |appreciably )?changed",
    r"no (?:prior|previous|comparison|old)",
    r"non[- ](?:specific|destructive|displaced|calcified|calcific|obstructive|solid|contrast|enhanced|dependent)",
    *("not only", "not necessarily", "not included", "without difficulty", "without contrast"),
)
"""They look like a denial and are none."""
NO_BEFORE = (
    *("no", "non", "not", "nor", "neither", "never", "without", "denies", "absent", "absence of", "lack of", "devoid of"),
    *("free of", "clear of", "negative for", "negative of", "rather than", "no longer", "no further", "nothing to suggest"),
    *("resolved", "resolution of", "interval resolution of", "removed", "removal of", "cannot see", "fails to", "failed to"),
    r"insufficient (?:evidence )?(?:for|to)",
)
OPEN_BEFORE = (
    *("may", "might", "could", "possible", "possibly", "potential", "potentially", "perhaps", "presumed", "borderline"),
    *("question", "question of", "questionable", "query", "equivocal", "indeterminate", "uncertain", "possibility of"),
    *("suspicious for", "suspicious of", "suspicion of", "suspicion for", "concern for", "concerning for", "worrisome for"),
    *(
        "versus",
        "vs",
        "differential",
        "less likely",
        "consider",
        "correlate",
        "rule out",
        "r/o",
        "evaluate for",
        "evaluation for",
    ),
    *(
        "should be considered",
        "if there is",
        "if clinical",
        "unclear if",
        "unclear whether",
        "not certain if",
        "not certain whether",
    ),
    r"suggest(?:s|ed|ing|ive of|ive)?",
    r"to (?:identify|exclude|evaluate for)",
    rf"(?:cannot|can not|can't|could not|difficult to|not) (?:be )?{_SURELY}{_EXCLUDED}",
    r"(?:may|might|could|possibly) (?:be )?(?:\w+ )?(?:due|secondary|related) to",
)
NO_AFTER = (
    rf"{_IS} (?:now )?(?:not|no longer|never) {_SURELY}(?:\w+ )?{_SEEN}",
    rf"not {_SURELY}{_SEEN}",
    rf"may not be (?:\w+ )?(?:visible|{_SEEN})",
    rf"(?:has|have) {_SURELY}(?:nearly )?(?:resolved|cleared)",
    r"(?:has|have) been (?:removed|extubated)",
    r"(?:is|are|was|were) (?:absent|negative|unlikely|not likely|resolved|completely resolved|removed|ruled out|excluded)",
    r"(?:is|are|appears?) (?:\w+ )?(?:unremarkable|within (?:normal limits|limits of normal|the limits of normal))",
    r": ?(?:none|negative|no)",
    "unlikely",
)
OPEN_AFTER = (
    rf"(?:cannot|can not|could not|can't) be {_SURELY}{_EXCLUDED}",
    r"(?:is|are) (?:not excluded|possible|questionable|suspected|considered|difficult to exclude|uncertain|indeterminate)",
    r"(?:is |are )?not well[ -](?:seen|visuali[sz]ed|evaluated|demonstrated)",
    r"(?:would|could) be difficult to exclude",
    r"(?:may|might|could) be present",
    r"should be (?:considered|excluded)",
    *("is a consideration", "is a possibility", "not excluded", "not entirely excluded", "versus", "vs", "suspected"),
)
STOP = (
    *(
        "but",
        "however",
        "although",
        "though",
        "except",
        "except for",
        "aside from",
        "apart from",
        "other than",
        "otherwise",
        "yet",
    ),
    *("nevertheless", "secondary to", "due to", "because", "which", "in addition", "additionally", "besides", "while", "whereas"),
    *(
        ";",
        "again seen",
        "again noted",
        "remain",
        "remains",
        "to account",
        "to explain",
        "status post",
        "consistent with",
        "likely",
    ),
    r"there (?:is|are|was|were|has|have)",
    r"with (?:stable|persistent|mild|moderate|small|large|minimal|bilateral)",
    r"(?:and|,) (?:the|there|stable|unchanged|again)",
)
"""Where a scope ends, in either direction."""
_CLAUSE = (
    r"(?:,|and) (?=(?:(?!or\b|and\b)\w+ ){1,5}(?:is|are|was|were|has|have|appears?|remains?)\b"
    rf"(?! (?:not )?{_SEEN}))"
)
"""A comma or "and" that begins another clause, with a subject and a verb of its own."""
_FINITE = re.compile(r"\b(?:is|are|was|were|has|have|appears?|remains?|shows?|demonstrates?|may|might|could|represents?)\b")
_CUES = PhraseIndex(
    {
        "pseudo": PSEUDO,
        "open after": OPEN_AFTER,
        "no after": NO_AFTER,
        "open before": OPEN_BEFORE,
        "no before": NO_BEFORE,
        "stop": (*STOP, _CLAUSE),
    }
)


Span = tuple[int, int]
LOOK_BACK = 200
"""Characters that a cue behind its phrase reaches back at most."""


@dataclass(frozen=True)
class Scopes:
    """Stretches of a sentence in which phrases are denied or left open: start and end in characters, sorted, not overlapping."""

    denied: tuple[Span, ...]
    left_open: tuple[Span, ...]

    def assertion(self, start: int, end: int) -> Assertion:
        """Return what the sentence says about the phrase between two places; a denial outweighs a doubt."""
        if _holds(self.denied, start, end):
            return 0
        return -1 if _holds(self.left_open, start, end) else 1


NOTHING = Scopes((), ())


def scopes_of(sentence: str) -> Scopes:
    """Find the scopes of all cues.

    Args:
        sentence: One sentence, in lower case.
    """
    spans: dict[str, list[Span]] = {"no": [], "open": []}
    reaching: dict[str, int] = {}
    since = 0
    for kind, begin, end in _CUES.find(sentence):
        if kind == "pseudo":
            continue
        if kind == "stop":
            for value, start in reaching.items():
                spans[value].append((start, begin))
            reaching = {}
            since = end
            continue
        value, side = kind.split()
        if side == "after":
            spans[value].append((_back(sentence, since, begin), begin))
        if side == "before" or value == "open":
            reaching.setdefault(value, end)
    for value, start in reaching.items():
        spans[value].append((start, len(sentence)))
    return Scopes(_merged(spans["no"]), _merged(spans["open"])) if spans["no"] or spans["open"] else NOTHING


def _back(sentence: str, since: int, cue: int) -> int:
    """Return where the scope of a cue behind its phrase begins: after the last stop or finite verb before it."""
    since = max(since, cue - LOOK_BACK)
    verbs = [verb.end() for verb in _FINITE.finditer(sentence, since, cue)]
    return verbs[-1] if verbs else since


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _holds(spans: tuple[Span, ...], start: int, end: int) -> bool:
    """Whether a phrase lies inside one of the spans."""
    place = bisect_right(spans, (start, end + 1)) - 1
    return any(first <= start and end <= last for first, last in spans[max(place - 1, 0) : place + 2])
