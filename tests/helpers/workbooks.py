"""Small Excel workbooks, written for tests without a library for them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
BOOK = (
    f'<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}"><sheets><sheet name="reports" sheetId="2" r:id="rId7"/>'
    '<sheet name="other" sheetId="1" r:id="rId1"/></sheets></workbook>'
)
RELATIONS = (
    f'<Relationships xmlns="{PACKAGE}"><Relationship Id="rId1" Target="worksheets/sheet1.xml"/>'
    '<Relationship Id="rId7" Target="/xl/worksheets/sheet2.xml"/></Relationships>'
)


def write_workbook(path: Path, rows: list[list[str | float | None]]) -> Path:
    """Write a workbook whose first sheet (the second part) holds the rows: texts shared, numbers as they are, None left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts: dict[str, int] = {}
    lines = ""
    for number, row in enumerate(rows, start=1):
        cells = ""
        for place, value in enumerate(row):
            name = f"{chr(ord('A') + place)}{number}"
            if isinstance(value, str):
                cells += f'<c r="{name}" t="s"><v>{texts.setdefault(value, len(texts))}</v></c>'
            elif value is not None:
                cells += f'<c r="{name}"><v>{value}</v></c>'
        lines += f'<row r="{number}">{cells}</row>'
    shared = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in texts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/workbook.xml", BOOK)
        book.writestr("xl/_rels/workbook.xml.rels", RELATIONS)
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{SHEET}">{shared}</sst>')
        book.writestr("xl/worksheets/sheet1.xml", sheet('<row><c t="inlineStr"><is><t>not this one</t></is></c></row>'))
        book.writestr("xl/worksheets/sheet2.xml", sheet(lines))
    return path


def sheet(rows: str) -> str:
    """Return the part of a sheet with these rows."""
    return f'<worksheet xmlns="{SHEET}"><sheetData>{rows}</sheetData></worksheet>'
