"""Reading the findings that a sentence mentions, and how: by the expressions of a lexicon and the scopes of negation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from lingula.data.text.lexicon import Terms
from lingula.data.text.negation import Assertion, scopes_of
from lingula.data.text.phrases import PhraseIndex
from lingula.data.text.sentences import REMEMBERED

Mentions: TypeAlias = tuple[tuple[str, Assertion], ...]
"""Finding and what is said of it, in the order of the lexicon; a finding may come twice."""

_LAST = re.compile(r"\S+$")


class MentionReader:
    """What one sentence says, finding by finding; short sentences are remembered.

    Args:
        lexicon: Finding to its expressions.
    """

    def __init__(self, lexicon: Mapping[str, Terms]) -> None:
        self._index = {
            finding: PhraseIndex({"left open": terms.left_open, "absent": terms.absent, "present": terms.present})
            for finding, terms in lexicon.items()
        }
        self._elsewhere = {finding: re.compile(terms.elsewhere) for finding, terms in lexicon.items() if terms.elsewhere}
        self.remembered = lru_cache(maxsize=65536)(self._read)

    def __call__(self, sentence: str) -> Mentions:
        """Return the mentions of one sentence."""
        return self.remembered(sentence) if len(sentence) <= REMEMBERED else self._read(sentence)

    def _read(self, sentence: str) -> Mentions:
        lower = sentence.lower()
        scopes = None
        mentions: dict[tuple[str, Assertion], None] = {}
        for finding, index in self._index.items():
            if finding in self._elsewhere and self._elsewhere[finding].search(lower):
                continue
            for kind, start, end in index.find(lower):
                value: Assertion
                if kind == "present":
                    scopes = scopes or scopes_of(lower)
                    last = _LAST.search(lower, start, end)
                    value = scopes.assertion(last.start() if last else start, end)
                else:
                    value = 0 if kind == "absent" else -1
                mentions[finding, value] = None
        return tuple(mentions)
