"""The lists of findings that labels can be read in: the fourteen of CheXpert, the eighteen of CT-RATE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lingula.data.text.ct_labeller import label_ct_sections
from lingula.data.text.ct_lexicon import CT_FINDINGS
from lingula.data.text.labeller import Label, label_sections
from lingula.data.text.lexicon import FINDINGS

VocabularyName: TypeAlias = Literal["chexpert", "ct-rate"]


@dataclass(frozen=True)
class Vocabulary:
    """A list of findings and the rules that read them.

    Args:
        findings: Names, in the order of their publication.
        label_sections: Section name to text in, finding to 1 present, 0 absent, -1 uncertain or None not mentioned out.
    """

    findings: tuple[str, ...]
    label_sections: Callable[[Mapping[str, str]], dict[str, Label]]


VOCABULARIES: dict[VocabularyName, Vocabulary] = {
    "chexpert": Vocabulary(FINDINGS, label_sections),
    "ct-rate": Vocabulary(CT_FINDINGS, label_ct_sections),
}
"""`chexpert` for radiographs (Irvin et al. 2019), `ct-rate` for chest CT (Hamamci et al., arXiv 2403.17834)."""
