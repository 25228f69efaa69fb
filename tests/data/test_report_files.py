"""Reports in text files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lingula.core.errors import UserError
from lingula.data.report_files import read_reports


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_line_of_a_text_file_is_a_report(tmp_path: Path) -> None:
    file = write(tmp_path / "reports.txt", "\ufeffNo  effusion.\n\n Nodule.\n")
    assert read_reports(file) == [{"text": "No effusion."}, {"text": "Nodule."}]


def test_known_sections_of_json_lines_in_reading_order(tmp_path: Path) -> None:
    lines = '{"impression": "Nodule.", "findings": "A nodule.", "id": "x"}\n{"text": "Normal.", "labels": [1]}\n{"id": "y"}\n'
    reports = read_reports(write(tmp_path / "reports.jsonl", lines))
    assert [list(report.items()) for report in reports] == [
        [("findings", "A nodule."), ("impression", "Nodule.")],
        [("text", "Normal.")],
    ]


def test_named_columns_of_a_table(tmp_path: Path) -> None:
    file = write(tmp_path / "reports.csv", 'body,summary,text\n"Long, with a comma.",Short.,other\n,,other\n')
    assert read_reports(file, ("summary", "body")) == [{"summary": "Short.", "body": "Long, with a comma."}]
    assert read_reports(file) == [{"text": "other"}, {"text": "other"}]


@pytest.mark.parametrize(
    ("name", "text", "columns", "said"),
    [
        ("a.csv", "findings,text\nx,y\n", ("finding",), "Did you mean 'findings'?"),
        ("a.jsonl", '{"text": "x"}\n', ("body",), "It has text"),
        ("a.csv", "id\n1\n", (), "holds no report text"),
        ("a.txt", "\n \n", (), "holds no report text"),
        ("a.jsonl", '{"text"\n{"text": "x"}\n', (), "line 1, is not JSON"),
    ],
)
def test_files_without_what_is_asked_for_are_user_errors(
    tmp_path: Path, name: str, text: str, columns: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserError, match=None) as error:
        read_reports(write(tmp_path / name, text), columns)
    assert said in str(error.value)


def test_missing_and_undecodable_files_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such text file"):
        read_reports(tmp_path / "nowhere.txt")
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_reports(tmp_path / "latin.txt")


@pytest.mark.parametrize(("column", "word"), [("Report_en", "pleural effusion"), ("Report", "derrame pleural")])
def test_bimcv_r_is_read_where_its_column_is_named(shared: Path, column: str, word: str) -> None:
    file = shared / "data/ct/reports/bimcv_r_val.csv"
    with pytest.raises(UserError, match="holds no report text"):
        read_reports(file)
    reports = read_reports(file, [column])
    assert len(reports) > 800
    assert sum(word in report[column] for report in reports) > 50
