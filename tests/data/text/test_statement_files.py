"""Statements from JSON lines: what was written comes back, and every bad line is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingula.core.errors import UserError
from lingula.data.text.statement_files import read_statements, write_statements
from lingula.data.text.statements import PartStatements

GOOD = '{"study_id": "s", "sections": {"lungs": {"positive": ["A nodule."]}}}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "statements.jsonl"


def test_what_is_written_comes_back(path: Path) -> None:
    statements = {
        "s": {"lungs": PartStatements(positive=("A nodule.",), negative=("No “mass”.",)), "heart": PartStatements()},
        "t": {},
    }
    write_statements(path, statements)
    assert read_statements(path) == statements


def test_white_space_and_repeats_do_not_matter(path: Path) -> None:
    path.write_text('\n{"study_id": "s", "sections": {"lungs": {"negative": ["No  mass.", " No mass."]}}}\n\n')
    assert read_statements(path) == {"s": {"lungs": PartStatements(negative=("No mass.",))}}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 2: no JSON"),
        ("[1]", "line 2: no JSON object"),
        ("null", "line 2: no JSON object"),
        ('{"study_id": "t"}', "line 2: 'sections'"),
        ('{"study_id": "", "sections": {}}', "line 2: 'study_id'"),
        ('{"study_id": 3, "sections": {}}', "line 2: 'study_id'"),
        ('{"study_id": "t", "sections": {"lungs": ["A nodule."]}}', "line 2: 'sections.lungs'"),
        ('{"study_id": "t", "sections": {"lungs": {"positiv": []}}}', "line 2: unknown key 'sections.lungs.positiv'"),
        ('{"study_id": "t", "sections": {"lungs": {"positive": "A nodule."}}}', "line 2: 'sections.lungs.positive'"),
        ('{"study_id": "t", "sections": {"lungs": {"positive": [3]}}}', "line 2: 'sections.lungs.positive.0'"),
        ('{"study_id": "t", "sections": {"lungs": {"positive": [" "]}}}', "line 2: section 'lungs' has a blank statement"),
        (GOOD, "line 2: study s comes twice"),
    ],
)
def test_bad_lines_are_named(path: Path, line: str, said: str) -> None:
    path.write_text(f"{GOOD}\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_statements(path)
    assert said in error.value.problem
    assert error.value.remedy


def test_files_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_statements(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_statements(path)


@given(line=st.text(max_size=80).filter(str.strip))
def test_any_other_line_is_refused_by_name(tmp_path_factory: pytest.TempPathFactory, line: str) -> None:
    path = tmp_path_factory.mktemp("lines") / "any.jsonl"
    path.write_text(line, encoding="utf-8", errors="replace")
    with pytest.raises(UserError, match="line"):
        read_statements(path)
