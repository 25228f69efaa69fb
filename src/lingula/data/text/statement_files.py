"""Statements that were made elsewhere, say by a language model: one JSON object per line and study.

    {"study_id": "s1", "sections": {"lungs": {"positive": ["A 4 mm nodule."], "negative": ["No consolidation."]}}}

`sections` maps any name of a part of the body to short sentences; `positive` says what is there, `negative` what is not there or
is normal, `unclear` what may say either: no finding counts as absent in such a part. Each list may be left out. A study comes
once; blank lines are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from lingula.core.config import Config
from lingula.core.errors import UserError
from lingula.core.files import atomic_file
from lingula.data.text.normalise import normalise_text
from lingula.data.text.statements import SIGNS, PartStatements, Statements


class _Line(Config):
    study_id: str = Field(min_length=1)
    sections: dict[str, PartStatements]


def read_statements(path: Path) -> dict[str, Statements]:
    """Return study to its statements.

    Raises:
        UserError: The file is missing or no UTF-8, or a line is no JSON object of this form, has a blank statement, or repeats a
            study; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror})", "Check the path of the statements.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason})", "Save it as UTF-8.") from None
    found: dict[str, Statements] = {}
    for number, text in enumerate(lines, start=1):
        if text.strip():
            line = _parse(text, f"{path}, line {number}")
            if line.study_id in found:
                raise UserError(f"{path}, line {number}: study {line.study_id} comes twice", "Give each study one line.")
            found[line.study_id] = line.sections
    return found


def write_statements(path: Path, statements: Mapping[str, Statements]) -> None:
    """Write study to statements, atomically, as `read_statements` reads them."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for study, sections in statements.items():
            line = _Line(study_id=study, sections=sections)
            file.write(json.dumps(line.model_dump(mode="json"), ensure_ascii=False) + "\n")


def _parse(text: str, where: str) -> _Line:
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where}: no JSON ({str(error).splitlines()[0]})", "Write one JSON object per line.") from None
    if not isinstance(values, dict):
        raise UserError(f"{where}: no JSON object", 'Write {"study_id": ..., "sections": {...}}.')
    line = _Line.from_values(values, where)
    cleaned = {part: _cleaned(said, f"{where}: section '{part}'") for part, said in line.sections.items()}
    return _Line(study_id=line.study_id, sections=cleaned)


def _cleaned(said: PartStatements, where: str) -> PartStatements:
    """Normalise white space, and leave out what comes twice."""
    lists = {sign: tuple(dict.fromkeys(map(normalise_text, getattr(said, sign)))) for sign in SIGNS}
    if any("" in texts for texts in lists.values()):
        raise UserError(f"{where} has a blank statement", "Leave it out.")
    return PartStatements(**lists)
