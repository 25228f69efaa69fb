"""Finding many phrases in a sentence at once, in time that hardly depends on how many there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_PUNCTUATION = ",;:?-"
_TOKEN = re.compile(rf"[a-z]\w*|[{_PUNCTUATION}]")
_KEY = 2
"""Characters by which phrases are looked up."""


class Found(NamedTuple):
    """One phrase in a sentence, as start and end in characters."""

    kind: str
    start: int
    end: int


class PhraseIndex:
    """Regular expressions sorted by the letters that they begin with, tried only where a word begins so.

    Args:
        groups: Kind to its expressions, in lower case. An expression begins with two literal characters, a punctuation mark or
            a group of alternatives that do, and has no capturing group. Earlier kinds and longer expressions come first.

    Raises:
        ValueError: An expression begins otherwise.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]]) -> None:
        sorted_out: dict[str, list[tuple[str, str]]] = {}
        for kind, expressions in groups.items():
            for expression in sorted(expressions, key=len, reverse=True):
                for key in dict.fromkeys(_beginnings(expression)):
                    sorted_out.setdefault(key, []).append((kind, expression))
        self._expressions = {
            key: (re.compile("|".join(f"({_whole(expression)})" for _, expression in entries)), [kind for kind, _ in entries])
            for key, entries in sorted_out.items()
        }

    def find(self, sentence: str) -> Iterator[Found]:
        """Yield the phrases of a sentence in lower case from left to right; none overlaps another."""
        end = 0
        for token in _TOKEN.finditer(sentence):
            start = token.start()
            entry = self._expressions.get(sentence[start : start + _KEY] if token.end() - start > 1 else token.group())
            if entry is None or start < end:
                continue
            match = entry[0].match(sentence, start)
            if match and match.lastindex:
                end = match.end()
                yield Found(entry[1][match.lastindex - 1], start, end)


def _whole(expression: str) -> str:
    """Let an expression end where a word does, unless it looks ahead itself."""
    return expression if "(?=" in expression or expression in _PUNCTUATION else expression + r"(?!\w)"


def _beginnings(expression: str) -> list[str]:
    """List the first two literal characters (one of punctuation) that a match can begin with."""
    if not expression.startswith("(?:"):
        length = _KEY if expression[:1].isalpha() else 1
        key = expression[:length]
        if not key or (length > 1 and not re.fullmatch(r"[a-z][a-z/]", key)) or (length == 1 and key not in _PUNCTUATION):
            raise ValueError(f"{expression!r} begins with no literal characters")
        return [key]
    depth, place, starts, last = 0, 0, [], 3
    for place, character in enumerate(expression):
        depth += (character == "(") - (character == ")")
        if (character == "|" and depth == 1) or depth == 0:
            starts.append(expression[last:place])
            last = place + 1
        if depth == 0:
            break
    rest = expression[place + 1 :]
    optional = rest.startswith("?")
    found = [key for start in starts for key in _beginnings(start + rest.lstrip("?"))]
    return found + (_beginnings(rest[1:]) if optional else [])
