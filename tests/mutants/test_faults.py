"""Seeded faults stay seedable: the text of each is once in its file, and the tests named with it exist."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_applies_to_the_source_as_it_is(fault: Fault) -> None:
    text = (ROOT / "src/lingula" / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.right) == 1
    assert fault.wrong != fault.right
    assert all((ROOT / "tests" / name).is_file() for name in fault.tests)


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
