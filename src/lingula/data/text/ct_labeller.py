"""The eighteen CT-RATE findings of a chest CT report, by rules: present, absent, uncertain or not mentioned."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lingula.data.text.ct_lexicon import CT_FINDINGS, CT_LEXICON
from lingula.data.text.labeller import READ_SECTIONS, Label, combined
from lingula.data.text.mentions import MentionReader
from lingula.data.text.sections import parse_sections
from lingula.data.text.sentences import split_sentences

ct_mentions = MentionReader(CT_LEXICON)
"""What one sentence says, finding by finding, in the order of `CT_FINDINGS`; a finding may come twice."""

_ITEM = re.compile(r'\s*(?:[\u2022\u25cf\u25aa]|"(?=\s*(?:[A-Z0-9]|$))|(?<=\.)")\s*')
"""Bullets; CT-RATE's impressions have quotation marks in their place."""


def label_ct_report(text: str) -> dict[str, Label]:
    """Return finding to 1 present, 0 absent, -1 uncertain, None not mentioned, for a chest CT report as exported.

    Sections are chosen as in `lingula.data.text.labeller.label_report`.

    >>> labels = label_ct_report("Pleural effusion was not detected. Mosaic attenuation pattern in both lungs (air trapping?).")
    >>> [labels[name] for name in ("Pleural effusion", "Mosaic attenuation pattern", "Emphysema")]
    [0, 1, None]
    """
    return label_ct_sections(parse_sections(text))


def label_ct_sections(sections: Mapping[str, str]) -> dict[str, Label]:
    """Return the labels of a report whose sections are known; see `label_ct_report`."""
    read = [text for name, text in sections.items() if name in READ_SECTIONS]
    return combined(CT_FINDINGS, (ct_mentions(sentence) for text in read for sentence in split_ct_sentences(text)))


def split_ct_sentences(text: str) -> list[str]:
    r"""Cut a chest CT report into normalised sentences; bullets, and quotation marks that stand for them, end one.

    >>> split_ct_sentences('Normal aorta. " Hiatal hernia " Nodule of 3 mm."')
    ['Normal aorta.', 'Hiatal hernia', 'Nodule of 3 mm.']
    """
    return split_sentences(_ITEM.sub("\n\n", text))
