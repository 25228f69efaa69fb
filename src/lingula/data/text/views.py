"""The views of a report that training sees: the whole, or one of its sentences."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lingula.data.text.normalise import normalise_text
from lingula.data.text.sentences import split_sentences

TextView = Literal["report", "sentence", "mixed"]
"""The whole report, one of its sentences, or either with equal chance."""


def text_views(text: str, kind: TextView) -> list[str]:
    """List every distinct text that `choose_view` can return for a report; empty for a blank report.

    Args:
        text: The report.
        kind: `report`, `sentence`, or `mixed` (the report first, then its sentences).
    """
    whole = normalise_text(text)
    if not whole:
        return []
    parts = {"report": [whole], "sentence": split_sentences(text), "mixed": [whole, *split_sentences(text)]}[kind]
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
        views = text_views(text, "report")
    else:
        views = split_sentences(text)
    if not views:
        raise ValueError("a blank report has no view")
    return views[int(generator.integers(len(views)))] if len(views) > 1 else views[0]
