from __future__ import annotations

import pytest
from blobs import build_blobs

from lingula.data.store_schema import StoredRegion
from lingula.evaluation.grounding.named import is_named, named_regions

BOX = (0.0, 0.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("finding", "stored", "phrase", "named"),
    [
        ("Pleural Effusion", "fluid on the right", "Fluid on the right ", True),
        ("Pleural Effusion", "fluid on the right", "right pleural effusion", True),
        ("Pleural Effusion", "fluid on the right", "left pleural effusion", False),
        ("Pleural Effusion", "", "left pleural effusions", True),
        ("Pleural Effusion", "", "a small effusion", True),
        ("Pleural Thickening", "", "a small pleural effusion", False),
        ("left lung", "", "left lung", True),
        ("left lung", "", "right lung", False),
        ("right lung", "", "a mass of the lung behind the heart", False),
        ("Cardiomegaly", "", "...", False),
    ],
)
def test_phrases_name_regions_by_their_words_and_not_of_the_other_side(
    finding: str, stored: str, phrase: str, named: bool
) -> None:
    assert is_named(StoredRegion(finding, BOX, phrase=stored), phrase) == named


def test_named_and_other_regions_are_told_apart() -> None:
    store = build_blobs()
    store._rows[0]["regions"] = [*store.regions(0), StoredRegion("Beta", (12, 12, 16, 16))]
    store._rows[0]["masks"].append(None)
    found = named_regions(store, 0, "an alpha")
    assert (found.inside == store.mask(0, 0)).all()
    assert found.others.sum() == 16
    assert found.others[15, 15]
    assert found.words == "green: right sided alpha; yellow: Beta"
    nothing = named_regions(store, 0, "left alpha")
    assert not nothing.inside.any()
    assert nothing.words.startswith("no region of this phrase is marked")
