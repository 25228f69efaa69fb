"""Pairs of texts that say the same of one report, for the sentence-level objective of the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lingula.core.randomness import random_generator
from lingula.data.text.affirmed import affirmed_text
from lingula.data.text.normalise import normalise_text
from lingula.data.text.sentences import split_sentences
from lingula.methods.sentence_matching import TextPair

MATCHED = ("findings", "impression")
HALVES = 2
"""How many ways each report is cut into two halves."""


def report_pairs(reports: Sequence[Mapping[str, str]], seed: int, affirmed: bool = False) -> list[TextPair]:
    """List the pairs of every report: findings with impression, and random halves of its sentences.

    A report of one sentence is paired with itself. Reports with equal texts count as one.

    Args:
        reports: Section name to text, in reading order.
        seed: Decides which sentences are in which half.
        affirmed: Pair what the findings affirm with what the impression affirms, and make halves only of reports without both.
    """
    pairs: list[TextPair] = []
    distinct = dict.fromkeys(tuple((name, normalise_text(text)) for name, text in report.items()) for report in reports)
    for number, sections in enumerate(distinct):
        named = {name: text for name, text in sections if text}
        if not named:
            continue
        found = [named[name] for name in MATCHED if name in named]
        own = [(found[0], found[1])] if len(found) == len(MATCHED) else []
        if affirmed and own:
            pairs.append(TextPair(affirmed_text(found[0]), affirmed_text(found[1]), number))
            continue
        own += _halves([sentence for text in named.values() for sentence in split_sentences(text)], seed, number)
        pairs += [TextPair(first, second, number) for first, second in dict.fromkeys(own)]
    return pairs


def _halves(sentences: list[str], seed: int, report: int) -> list[tuple[str, str]]:
    """Cut a report in two at random, the sentences of each half in their order."""
    if len(sentences) < 2:
        return [(sentence, sentence) for sentence in sentences]
    halves = []
    for cut in range(HALVES):
        chosen = random_generator("halves", seed, report, cut).permutation(len(sentences)) < len(sentences) // 2
        halves.append((_join(sentences, chosen), _join(sentences, ~chosen)))
    return halves


def _join(sentences: list[str], chosen: np.ndarray) -> str:
    return " ".join(sentence for sentence, taken in zip(sentences, chosen, strict=True) if taken)
