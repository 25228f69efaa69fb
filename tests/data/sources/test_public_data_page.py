"""The page of public data sets: a row per source, with its splits; what it says of them is what they say."""

from __future__ import annotations

from pathlib import Path

from lingula.data.sources.catalogue import PUBLIC, public_class

PAGE = Path(__file__).parents[3] / "docs/how-to/public-data.md"


def test_every_source_has_a_row_with_its_splits_and_what_it_was_tested_on() -> None:
    rows = {
        line.split("`")[1].split()[0]: line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    }
    assert set(rows) == set(PUBLIC)
    for name, row in rows.items():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        told = [word.split()[0] for word in cells[5].split(", ")]
        assert told == list(public_class(name).rules), name
        assert ("(leaks)" in cells[5]) == any(rule.leak for rule in public_class(name).rules.values())
        assert cells[-1].startswith("miniature")
        assert bool(cells[2]) == (public_class(name).reports)
