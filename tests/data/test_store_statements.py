"""The command that cuts a store's reports into statements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lingula.cli import main
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.text.statement_files import read_statements
from lingula.data.text.statements import PartStatements

MakeTable = Callable[..., Path]
ROWS = [
    {"image": "0.png", "study_id": "s", "report": "FINDINGS: No effusion. Cardiomegaly."},
    {"image": "1.png", "study_id": "s", "report": "FINDINGS: No effusion. Cardiomegaly."},
    {"image": "2.png", "study_id": "t", "report": "IMPRESSION: Heart size is normal."},
    {"image": "3.png", "study_id": "u"},
]


def test_every_study_with_text_has_one_line(make_table: MakeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(CsvSource(make_table(ROWS)), tmp_path / "store", PrepareConfig(size=32), workers=1)
    main(["data", "statements", str(tmp_path / "store"), "--out", str(tmp_path / "out.jsonl")])
    assert read_statements(tmp_path / "out.jsonl") == {
        "s": {"pleura": PartStatements(negative=("No effusion.",)), "heart": PartStatements(positive=("Cardiomegaly.",))},
        "t": {"heart": PartStatements(negative=("Heart size is normal.",))},
    }
    printed = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[-1].isdigit())
    assert printed == {"studies": "2", "without a positive finding": "1", "positive": "1", "negative": "2"}


def test_a_store_without_text(make_table: MakeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(CsvSource(make_table(ROWS[3:])), tmp_path / "store", PrepareConfig(size=32), workers=1)
    with pytest.raises(SystemExit):
        main(["data", "statements", str(tmp_path / "store"), "--out", str(tmp_path / "out.jsonl")])
    assert "no text to cut into statements" in capsys.readouterr().err
