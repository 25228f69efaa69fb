"""Which regions of an image a free phrase names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lingula.core.types import RegionMask
from lingula.data.store import Store
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.grounding.queries import region_mask
from lingula.evaluation.grounding.sides import side_of
from lingula.models.known_words import words_of


@dataclass(frozen=True)
class NamedRegions:
    """The truth about a phrase.

    Args:
        inside: Pixels of the regions that it names, `size size`.
        others: Pixels of the other regions.
        words: What they are, for a caption.
    """

    inside: RegionMask
    others: RegionMask
    words: str


def named_regions(store: Store, row: int, phrase: str) -> NamedRegions:
    """Return the regions of an image that a phrase names, and the others.

    Args:
        store: The images.
        row: Row of the store.
        phrase: Any words.
    """
    inside, others = np.zeros((2, store.size, store.size), bool)
    names: dict[bool, list[str]] = {True: [], False: []}
    for number, region in enumerate(store.regions(row)):
        named = is_named(region, phrase)
        target = inside if named else others
        target |= region_mask(store, row, number)
        names[named].append(region.phrase or region.finding)
    found, rest = (", ".join(dict.fromkeys(names[named])) for named in (True, False))
    words = f"green: {found}" if found else "no region of this phrase is marked"
    return NamedRegions(inside, others, f"{words}; yellow: {rest}" if rest else words)


def is_named(region: StoredRegion, phrase: str) -> bool:
    """Whether a phrase names a region: the stored phrase itself, or the finding without the other side.

    A finding is named by all of its words, or by its last one where the phrase ends with it ("a small effusion"). Capitals and a
    plural s do not count. The region's side is that of its stored phrase, else of its finding's name.
    """
    asked, stored = phrase.lower().strip(), region.phrase.lower().strip()
    if stored and asked == stored:
        return True
    words, finding = ([word.removesuffix("s") for word in words_of(text.lower())] for text in (phrase, region.finding))
    if not words or not (set(finding) <= set(words) or words[-1:] == finding[-1:]):
        return False
    sides = {side_of(asked), side_of(stored) or side_of(region.finding)} - {None}
    return len(sides) < 2
