"""Rules by which public data sets are split: published, by patient, or as a paper's code draws them."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lingula.core.errors import UserError
from lingula.data.study import Split


class Case(NamedTuple):
    """What a rule knows of a study.

    Args:
        study_id: Its name.
        patient_id: Its patient.
        images: How many images it has.
        frontal: How many of them are not lateral.
        published: The split that the data set's own files give, if any.
        positive: Whether it has the finding that the data set is about, for stratified draws.
    """

    study_id: str
    patient_id: str
    images: int
    frontal: int
    published: Split | None
    positive: bool


Assign = Callable[[Sequence[Case]], list[Split | None]]
"""Cases to one split each, in their order; None leaves the study out."""
Sizes = tuple[int, int, int]
"""Images in train, val and test."""


@dataclass(frozen=True)
class SplitRule:
    """One way to split a data set.

    Args:
        summary: One line for the help.
        assign: The rule; None: it puts images into several splits, so no store can hold it.
        source: Where the rule, or its sizes, are printed.
        sizes: Published images in train, val and test; None where nothing is published.
        leak: What is known to be wrong with it, one line; empty: nothing.
        instead: The rule by patient that comes closest to one that leaks, or that may.
    """

    summary: str
    assign: Assign | None
    source: str
    sizes: Sizes | None = None
    leak: str = ""
    instead: str = ""


def published(cases: Sequence[Case]) -> list[Split | None]:
    """Return what the data set's own files say."""
    return [case.published for case in cases]


def hold_out_patients(images: int = 0, share: float = 0.0, seed: int = 0, frontal: bool = False) -> Assign:
    """Return a rule that moves whole patients of the published train split to val; the rest stays as published (ours).

    Patients come in the order of a hash of their id, so the first ones do not depend on how many there are.

    Args:
        images: Patients are moved until val has at least so many images.
        share: Or so large a share of the images of the train split.
        seed: Another seed moves other patients.
        frontal: Whether only frontal images count.
    """

    def assign(cases: Sequence[Case]) -> list[Split | None]:
        counts: defaultdict[str, int] = defaultdict(int)
        for case in cases:
            if case.published == "train":
                counts[case.patient_id] += case.frontal if frontal else case.images
        wanted = images or share * sum(counts.values())
        moved: set[str] = set()
        reached = 0
        for patient in sorted(counts, key=lambda name: _hash(seed, name)):
            if reached >= wanted:
                break
            moved.add(patient)
            reached += counts[patient]
        return ["val" if case.published == "train" and case.patient_id in moved else case.published for case in cases]

    return assign


def whole_patients(train: float, val: float, seed: int = 0) -> Assign:
    """Return a rule that gives whole patients to train, val and test, whatever the data set's own files say (ours).

    Args:
        train: Share of the images in train.
        val: Share of the images in val; the rest is test.
        seed: Another seed gives another split.
    """

    def assign(cases: Sequence[Case]) -> list[Split | None]:
        counts: defaultdict[str, int] = defaultdict(int)
        for case in cases:
            counts[case.patient_id] += case.images
        total, reached = sum(counts.values()), 0
        given: dict[str, Split] = {}
        for patient in sorted(counts, key=lambda name: _hash(seed, name)):
            given[patient] = "train" if reached < train * total else "val" if reached < (train + val) * total else "test"
            reached += counts[patient]
        return [given[case.patient_id] for case in cases]

    return assign


def drawn(held_out: float, seed: int, stratified: bool = False, second: Split = "test") -> Assign:
    """Return a rule that draws as scikit-learn's `train_test_split` does, twice, from the studies in the order of their names.

    Args:
        held_out: Share (below 1) or number of studies outside train.
        seed: `random_state` of both draws.
        stratified: Whether both draws keep the share of positives.
        second: Which split the first part of the second draw is: `test` in MGCA's code, `val` in BenchX's.
    """

    def assign(cases: Sequence[Case]) -> list[Split | None]:
        order = sorted(range(len(cases)), key=lambda place: cases[place].study_id)
        train, others = _draw(cases, order, held_out, seed, stratified)
        first, last = _draw(cases, others, 0.5, seed, stratified)
        given: dict[int, Split] = dict.fromkeys(train, "train")
        given |= dict.fromkeys(first, second)
        given |= dict.fromkeys(last, "val" if second == "test" else "test")
        return [given[place] for place in range(len(cases))]

    return assign


def drawn_from_train(held_out: float, seed: int, stratified: bool = False, by_name: bool = False) -> Assign:
    """Return a rule that draws val out of the published train split as `train_test_split` does; the rest stays as published.

    Args:
        held_out: Share (below 1) or number of the studies of the train split.
        seed: `random_state`.
        stratified: Whether val keeps the share of positives.
        by_name: Whether the studies are drawn in the order of their names, not in that of the table.
    """

    def assign(cases: Sequence[Case]) -> list[Split | None]:
        places = [place for place, case in enumerate(cases) if case.published == "train"]
        if by_name:
            places.sort(key=lambda place: cases[place].study_id)
        moved = set(_draw(cases, places, held_out, seed, stratified)[1])
        return ["val" if place in moved else case.published for place, case in enumerate(cases)]

    return assign


def only_test(cases: Sequence[Case]) -> list[Split | None]:
    """Put everything into test: a data set for evaluation alone."""
    return ["test"] * len(cases)


def _draw(cases: Sequence[Case], places: list[int], size: float, seed: int, stratified: bool) -> tuple[list[int], list[int]]:
    """Draw a share (below 1) or number of the places as `train_test_split` does; return the rest and what was drawn.

    Raises:
        UserError: There are too few.
    """
    count = math.ceil(size * len(places)) if size < 1 else int(size)
    too_few = UserError(
        f"{len(places):,} studies are too few to draw this split from", "Use another --split; the whole data set has enough."
    )
    if not 0 < count < len(places):
        raise too_few
    if not stratified:  # without scikit-learn, whose import takes seconds
        order = [places[place] for place in np.random.RandomState(seed).permutation(len(places))]
        return order[count:], order[:count]
    from sklearn.model_selection import train_test_split

    strata = [cases[place].positive for place in places]
    try:
        rest, chosen = train_test_split(places, test_size=count, random_state=seed, stratify=strata)
    except ValueError:
        raise too_few from None
    return rest, chosen


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
