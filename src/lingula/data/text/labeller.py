"""The fourteen CheXpert findings of a report, by rules: present, absent, uncertain or not mentioned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from lingula.data.text.lexicon import FINDINGS, LEXICON, NO_FINDING, SUPPORT
from lingula.data.text.mentions import MentionReader, Mentions
from lingula.data.text.sections import TEXT, parse_sections
from lingula.data.text.sentences import split_sentences

LABELLER_VERSION = 2
"""Part of a store's fingerprint; another number where another rule gives other labels."""
READ_SECTIONS = ("findings", "impression", TEXT, "addendum")
"""Sections that describe these images; indication, history and comparison speak of something else."""
Label = Literal[1, 0, -1] | None

_WEIGHT: dict[Label, int] = {None: 0, 0: 1, -1: 2, 1: 3}
"""What outweighs what when sentences differ: present, then uncertain, then absent."""


def label_report(text: str) -> dict[str, Label]:
    """Return finding to 1 present, 0 absent, -1 uncertain, None not mentioned, for a report as exported.

    Findings, impression, addendum and text without headings are read; indication, history and comparison speak of something else.

    >>> labels = label_report("FINDINGS: Heart size is normal. Possible small left effusion. IMPRESSION: No pneumothorax.")
    >>> [labels[name] for name in ("Cardiomegaly", "Pleural Effusion", "Pneumothorax", "Fracture")]
    [0, -1, 0, None]
    """
    return label_sections(parse_sections(text))


def label_sections(sections: Mapping[str, str]) -> dict[str, Label]:
    """Return the labels of a report whose sections are known; see `label_report`."""
    read = [text for name, text in sections.items() if name in READ_SECTIONS]
    return label_sentences(sentence for text in read for sentence in split_sentences(text))


def label_sentences(sentences: Iterable[str]) -> dict[str, Label]:
    """Return the labels that sentences give together: present in one is present, then uncertain, then absent."""
    said = list(sentences)
    labels = combined(FINDINGS, (sentence_mentions(sentence) for sentence in said))
    labels[NO_FINDING] = _no_finding(labels) if said else None
    return labels


def combined(findings: Iterable[str], mentions: Iterable[Mentions]) -> dict[str, Label]:
    """Return finding to what sentences say of it together; None where none mentions it."""
    labels: dict[str, Label] = dict.fromkeys(findings)
    for sentence in mentions:
        for finding, value in sentence:
            if _WEIGHT[value] > _WEIGHT[labels[finding]]:
                labels[finding] = value
    return labels


sentence_mentions = MentionReader(LEXICON)
"""What one sentence says, finding by finding, in the order of `FINDINGS`; a finding may come twice."""


def _no_finding(labels: Mapping[str, Label]) -> Label:
    """Nothing present and nothing uncertain, devices aside (CheXpert, section 2.2)."""
    values = {value for finding, value in labels.items() if finding not in (NO_FINDING, SUPPORT)}
    return 0 if 1 in values else -1 if -1 in values else 1
