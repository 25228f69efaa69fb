from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from workbooks import SHEET, sheet, write_workbook

from lingula.core.errors import UserError
from lingula.data.sources import workbook
from lingula.data.sources.tables import read_table
from lingula.data.sources.workbook import sheet_rows


def _replace(path: Path, part: str, content: str | None) -> None:
    """Put another content into one part of a workbook, or leave the part out."""
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist() if name != part}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        for name, each in parts.items():
            book.writestr(name, each)
        if content is not None:
            book.writestr(part, content)


def test_the_first_sheet_is_a_table_like_any_other(tmp_path: Path) -> None:
    rows = [
        ["study id", "Findings", "Split", None],
        ["AC1", "a < b & c\nd", "train", None],
        [None, None, None],
        ["AC2", None, "val"],
    ]
    table = read_table(write_workbook(tmp_path / "r.xlsx", rows))
    assert table.columns == ["study id", "Findings", "Split"]
    assert table.rows == [
        {"study id": "AC1", "Findings": "a < b & c\nd", "Split": "train"},
        {"study id": "AC2", "Findings": "", "Split": "val"},
    ]
    assert read_table(tmp_path / "r.xlsx", only={"Split"}).rows[0] == {"Split": "train"}


def test_cells_of_all_kinds(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "r.xlsx", [["x"]])
    runs = "<is><r><t>plain </t></r><r><rPr><b/></rPr><t>bold</t></r><rPh><t>reading</t></rPh></is>"
    cells = f'<c t="inlineStr">{runs}</c><c t="str"><v>a_x0009_b</v></c><c t="b"><v>1</v></c><c r="AB1"><v>-0.5</v></c><c/>'
    _replace(path, "xl/worksheets/sheet2.xml", sheet(f"<row>{cells}</row><row/>"))
    first, second = sheet_rows(path)
    assert first == ["plain bold", "a\tb", "1", *[""] * 24, "-0.5"]
    assert second == []


@pytest.mark.parametrize(
    "part", ["xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml", "xl/worksheets/sheet2.xml"]
)
def test_a_workbook_without_a_part_or_with_a_broken_one_is_refused(tmp_path: Path, part: str) -> None:
    for content in (None, "<workbook", f'<sst xmlns="{SHEET}"/>'):
        if (part, content) == ("xl/worksheets/sheet2.xml", f'<sst xmlns="{SHEET}"/>'):
            continue  # a sheet without rows
        path = write_workbook(tmp_path / "r.xlsx", [["x"]])
        _replace(path, part, content)
        with pytest.raises(UserError, match=r"is no workbook that can be read .*Download it again"):
            read_table(path)


def test_what_is_no_workbook_or_a_trap_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.xlsx"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"is no workbook that can be read \(File is not a zip file\)"):
        read_table(path)
    write_workbook(path, [["x"]])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"is no workbook"):
        read_table(path)
    monkeypatch.setattr(workbook, "LARGEST", 100)
    with pytest.raises(UserError, match=r"unpacks to more than 100 bytes"):
        read_table(write_workbook(path, [["x"]]))


def test_an_empty_sheet_and_a_cell_beyond_the_header_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is empty"):
        read_table(write_workbook(tmp_path / "r.xlsx", []))
    with pytest.raises(UserError, match=r"line 2: 2 cells under 1 columns"):
        read_table(write_workbook(tmp_path / "r.xlsx", [["x"], ["1", 2]]))
