"""The table of hostile input: every row names a test, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/hostile-input.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
ASKED = (
    *("truncated", "no bytes", "every pixel the same", "NaN", "20,000 x 20,000", "text, a folder", "decompression bomb"),
    *("without pixels", "report empty", "10,000 words", "not UTF-8", "control characters", "leaves the root", "in a circle"),
    *("weights cut", "another method", "newer version", "a pickle offered", "YAML bomb", "store of another version"),
)
"""Inputs that the page must speak of."""


def rows() -> list[str]:
    """The rows of the tables of inputs; the last table tells what was measured."""
    tables = PAGE.read_text(encoding="utf-8").split("## Measured")[0]
    return [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith(("| input", "| ---"))]


def test_every_row_names_a_test_that_is_there() -> None:
    assert len(rows()) >= 50
    for row in rows():
        named = NAMED.findall(row)
        assert named, row
        for file, function in named:
            assert (ROOT / file).is_file(), row
            assert f"def {function or 'test_'}" in (ROOT / file).read_text(encoding="utf-8"), row


def test_the_page_speaks_of_every_input_that_was_asked_for() -> None:
    inputs = " ".join(row.split("|")[1] for row in rows())
    assert [words for words in ASKED if words not in inputs] == []
