"""Findings that a table lists in one cell as a Python list in text, as PadChest and what was labelled like it do."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from lingula.core.errors import UserError

NO_FINDINGS = ("", "exclude", "suboptimal study", "unchanged")
LEAST = 50
"""Studies that have a finding, for it to be absent elsewhere (ours)."""


def listed_findings(cell: str, where: str) -> set[str]:
    """Return the findings in a cell, each once, in lower case, without blanks around it.

    Args:
        cell: E.g. `['COVID 19', ' pneumonia', '']`; blank or nan: none.
        where: The data set and the row, for the error.

    Raises:
        UserError: It is no list.

    >>> sorted(listed_findings("[' pneumonia', 'COVID 19', '', 'exclude']", "x"))
    ['covid 19', 'pneumonia']
    """
    if cell in ("", "nan"):
        return set()
    try:
        words = ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        words = None
    if not isinstance(words, list):
        raise UserError(f"{where}: {cell[:40]!r} in column 'Labels' is no list", "Download the table again.")
    return {str(word).strip().lower() for word in words} - set(NO_FINDINGS)


def frequent(studies: Iterable[Iterable[str]], least: int) -> list[str]:
    """Return the findings that at least so many studies have, in the order of the alphabet."""
    counts = Counter(finding for found in studies for finding in found)
    return sorted(finding for finding, count in counts.items() if count >= least)


def as_labels(found: Iterable[str], elsewhere: Iterable[str]) -> dict[str, Literal[1, 0]]:
    """Return labels: 1 what a study has, 0 what is frequent and it has not; none where it has no finding at all.

    >>> as_labels({"nodule"}, ["nodule", "pneumonia"]), as_labels((), ["nodule"])
    ({'nodule': 1, 'pneumonia': 0}, {})
    """
    present: dict[str, Literal[1, 0]] = dict.fromkeys(sorted(found), 1)
    return {**dict.fromkeys(elsewhere, 0), **present} if present else {}
