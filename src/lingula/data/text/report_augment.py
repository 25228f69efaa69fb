"""Variants of a report that say the same: shuffled parts, shuffled sentences, or one short statement of it (arXiv 2510.15042)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lingula.data.text.anatomy import part_of
from lingula.data.text.ct_labeller import split_ct_sentences
from lingula.data.text.report_augment_config import ReportAugmentConfig
from lingula.data.text.statements import Statements


def varied_report(
    sections: Mapping[str, str], statements: Statements, config: ReportAugmentConfig, generator: np.random.Generator
) -> str:
    """Return the text that a report is trained with; the sentences as written where nothing is drawn.

    Args:
        sections: The report, section by section, in reading order.
        statements: Its short statements; a report without any is never shortened.
        config: Probabilities.
        generator: Source of randomness, keyed by the caller to seed, epoch and sample.

    Raises:
        ValueError: The report is blank.
    """
    short, by_section, by_sentence = generator.random(3) < (
        config.short_sentence,
        config.section_shuffle,
        config.sentence_shuffle,
    )
    signs = [
        [text for said in statements.values() for text in said.positive],
        [text for said in statements.values() for text in said.negative],
    ]
    said = [texts for texts in signs if texts]
    if short and said:
        return str(_one(_one(said, generator), generator))
    sentences = [sentence for text in sections.values() for sentence in split_ct_sentences(text)]
    if not sentences:
        raise ValueError("a blank report has no variant")
    if by_section or by_sentence:
        sentences = _shuffled(sentences, by_section, by_sentence, generator)
    return " ".join(sentences)


def _shuffled(sentences: list[str], by_section: bool, by_sentence: bool, generator: np.random.Generator) -> list[str]:
    groups: dict[str, list[str]] = {}
    for sentence in sentences:
        groups.setdefault(part_of(sentence), []).append(sentence)
    ordered = list(groups.values())
    if by_section:
        ordered = _permuted(ordered, generator)
    if by_sentence:
        ordered = [_permuted(group, generator) for group in ordered]
    return [sentence for group in ordered for sentence in group]


def _permuted(items: list[Any], generator: np.random.Generator) -> list[Any]:
    return [items[number] for number in generator.permutation(len(items))]


def _one(items: Sequence[Any], generator: np.random.Generator) -> Any:
    return items[int(generator.integers(len(items)))]
