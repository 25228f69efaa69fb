"""The views of a report that training sees: the whole, one of its sentences, or what it affirms."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lingula.data.text.affirmed import affirmed_text
from lingula.data.text.normalise import normalise_text
from lingula.data.text.sentences import split_sentences

TextView = Literal["report", "sentence", "mixed", "affirmed"]
"""The whole report, one of its sentences, either with equal chance, or the sentences that deny nothing."""


def text_views(text: str, kind: TextView) -> list[str]:
    """List every distinct text that `choose_view` can return for a report; empty for a blank report.

    Args:
        text: The report.
        kind: `report`, `sentence`, `mixed` (the report first, then its sentences) or `affirmed`.
    """
    whole = normalise_text(text)
    if not whole:
        return []
    if kind in ("report", "affirmed"):
        return [whole if kind == "report" else affirmed_text(text)]
    sentences = split_sentences(text)
    return list(dict.fromkeys(sentences if kind == "sentence" else [whole, *sentences]))


def choose_view(text: str, kind: TextView, generator: np.random.Generator) -> str:
    """Choose the text that a sample is trained with, always one of `text_views`.

    Args:
        text: The report.
        kind: `report` and `affirmed` (no choice), `sentence` (uniform over the sentences) or `mixed` (half the time either).
        generator: Source of randomness, keyed by the caller to seed, epoch and sample.

    Raises:
        ValueError: The report is blank.
    """
    if kind in ("report", "affirmed"):
        views = text_views(text, kind)
    elif kind == "mixed" and generator.random() < 0.5:
        views = text_views(text, "report")
    else:
        views = split_sentences(text)
    if not views:
        raise ValueError("a blank report has no view")
    return views[int(generator.integers(len(views)))] if len(views) > 1 else views[0]
