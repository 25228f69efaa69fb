"""Errors that a user can mend: one clear line, the remedy, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A problem in what the user gave us.

    The command line prints it as one line and leaves with exit code 2; nothing that exists is changed.

    Args:
        problem: What is wrong, naming the file, column or key.
        remedy: What to do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}" if remedy else problem)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest known word, or an empty string.

    >>> nearest("batchsize", ["batch_size", "steps"])
    "Did you mean 'batch_size'?"
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else ""
