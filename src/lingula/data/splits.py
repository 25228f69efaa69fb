"""Splits are by patient: given by the source, or else by a hash of the patient's id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import get_args

from lingula.core.errors import UserError
from lingula.data.study import Split, Study

SPLITS: tuple[Split, ...] = get_args(Split)
ALIASES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def split_of(patient_id: str, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> Split:
    """Return the split of a patient, from the id and the seed alone.

    Args:
        patient_id: Any text.
        fractions: Shares of train, val and test, summing to 1.
        seed: Another seed gives an independent split.
    """
    digest = hashlib.sha256(f"{seed}\0{patient_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < fractions[0]:
        return "train"
    return "val" if position < fractions[0] + fractions[1] else "test"


def read_split(word: str) -> Split | None:
    """Return the split that a table's word means (`valid`, `validate`, `dev` are val), or None for an empty word.

    Raises:
        UserError: The word is not a split.
    """
    if not word.strip():
        return None
    split = ALIASES.get(word.strip().lower())
    if split is None:
        remedy = f"Use one of {', '.join(ALIASES)}, or split by patient hash with --split-column none."
        raise UserError(f"'{word}' is not a split", remedy)
    return split


def check_splits(studies: Iterable[Study]) -> dict[str, Split]:
    """Return the split that each patient was given by the source; patients without one are left out.

    Raises:
        UserError: A patient is in two splits.
    """
    given: dict[str, Split] = {}
    for study in studies:
        note_split(given, study)
    return given


def note_split(given: dict[str, Split], study: Study) -> None:
    """Add one study to the splits given so far.

    Raises:
        UserError: Its patient is already in another split.
    """
    if study.split is None:
        return
    other = given.setdefault(study.patient_id, study.split)
    if other != study.split:
        problem = f"patient '{study.patient_id}' is in two splits, {other} and {study.split} (study '{study.study_id}')"
        raise UserError(problem, "Mend the split column, or split by patient hash with --split-column none.")
