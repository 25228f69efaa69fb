"""What the opposite-sentence loss compares a study with: statements that are true of it, and positives of other patients.

As others report of COLIPRI (arXiv 2510.15042, its algorithm 1). A positive of another patient is taken only for parts of the body
in which this study has no positive finding and no sentence that may be one, so that it is likely false here; nor, which is ours,
where it names a finding that this study may have in any part. What a report does not mention may still be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from lingula.data.text.anatomy import OTHER
from lingula.data.text.ct_labeller import ct_mentions
from lingula.data.text.opposite import opposite_of
from lingula.data.text.statements import Statements

SPARE = 64
"""Candidates that are drawn beyond what is needed, as some may be the patient's own."""


@dataclass(frozen=True)
class Slot:
    """A pair of opposite sentences.

    Args:
        statement: Affirms a finding; "" in a slot that stays empty.
        opposite: Denies it.
        label: 1 where the statement is true, 0 where its opposite is, -1 for an empty slot.
    """

    statement: str
    opposite: str
    label: Literal[1, 0, -1]


EMPTY = Slot("", "", -1)


class StatementBank:
    """All positive statements of some studies, by part of the body.

    Args:
        studies: Patient and statements of each study; training studies only, so that nothing of the others is learned.
    """

    def __init__(self, studies: Iterable[tuple[str, Statements]]) -> None:
        owners: dict[str, dict[str, str | None]] = {}
        for patient, statements in studies:
            for part, said in statements.items():
                known = owners.setdefault(part, {})
                for statement in said.positive:
                    known[statement] = patient if known.get(statement, patient) == patient else None
        self._owners = {part: owners[part] for part in sorted(owners) if part != OTHER and owners[part]}
        self._listed = {part: list(known) for part, known in self._owners.items()}

    def slots(self, statements: Statements | None, patient: str, count: int, generator: np.random.Generator) -> list[Slot]:
        """Draw the slots of one study: half of them true where there are as many, half false, the rest empty.

        Args:
            statements: The study's own; None where they are not known: then all slots are empty.
            patient: Whose they are.
            count: Slots K: at most ⌈K/2⌉ true and ⌊K/2⌋ false ones.
            generator: Source of randomness, keyed by the caller to seed, epoch and sample.
        """
        if statements is None:
            return [EMPTY] * count
        own = list(dict.fromkeys(statement for said in statements.values() for statement in said.positive))
        chosen = generator.permutation(len(own))[: -(-count // 2)].tolist()
        slots = [Slot(own[number], opposite_of(own[number]), 1) for number in chosen]
        slots += [Slot(text, opposite_of(text), 0) for text in self._false(statements, patient, count // 2, generator)]
        return slots + [EMPTY] * (count - len(slots))

    def _false(self, statements: Statements, patient: str, most: int, generator: np.random.Generator) -> list[str]:
        """Draw positives of other patients, for parts in which this study has none, of findings that it nowhere may have."""
        speaking = {part for part, said in statements.items() if said.positive or said.unclear}
        may_be_there = {
            name for said in statements.values() for text in (*said.positive, *said.unclear) for name in _findings(text)
        }
        silent = [part for part in self._listed if part not in speaking]
        ends = np.cumsum([len(self._listed[part]) for part in silent])
        total = int(ends[-1]) if silent else 0
        for size in (min(total, most + SPARE), total):
            found: dict[str, None] = {}
            for number in generator.choice(total, size=size, replace=False) if total else ():
                place = int(np.searchsorted(ends, number, side="right"))
                part = silent[place]
                text = self._listed[part][number - (ends[place - 1] if place else 0)]
                if len(found) < most and self._owners[part][text] != patient and may_be_there.isdisjoint(_findings(text)):
                    found[text] = None
            if len(found) == most:
                break
        return list(found)


@lru_cache(maxsize=65536)
def _findings(text: str) -> frozenset[str]:
    """Findings of CT-RATE that a sentence names and does not deny."""
    return frozenset(name for name, value in ct_mentions(text) if value != 0)
