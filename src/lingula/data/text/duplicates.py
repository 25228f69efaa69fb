"""Reports that repeat another one, word by word or as the same template."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lingula.data.text.normalise import normalise_text
from lingula.data.text.sentences import split_sentences

_WORDS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Duplicates:
    """How often texts repeat each other.

    Args:
        texts: Texts that are not blank.
        exact: Texts that repeat an earlier one after normalisation.
        near: Texts that repeat an earlier one but for case, numbers, punctuation and the order of their sentences (the exact ones
            among them).
        most_frequent: How many texts share the most frequent template.
    """

    texts: int
    exact: int
    near: int
    most_frequent: int


def template_key(text: str) -> tuple[str, ...]:
    """Return what a template leaves: the words of each sentence in lower case, sentences sorted.

    >>> template_key("No effusion. Tube 3 cm above the carina.") == template_key("TUBE 5.5 cm above the carina. No effusion!")
    True
    """
    sentences = (" ".join(_WORDS.findall(sentence.lower())) for sentence in split_sentences(text))
    return tuple(sorted(sentence for sentence in sentences if sentence))


def count_duplicates(texts: Iterable[str]) -> Duplicates:
    """Count texts that repeat an earlier one; blank texts do not count."""
    whole = [normal for text in texts if (normal := normalise_text(text))]
    templates = Counter(map(template_key, whole))
    return Duplicates(
        texts=len(whole),
        exact=len(whole) - len(set(whole)),
        near=len(whole) - len(templates),
        most_frequent=max(templates.values(), default=0),
    )
