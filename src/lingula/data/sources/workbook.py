"""The first sheet of an Excel workbook (.xlsx), row by row, as text cells; formulas, dates and formats are not read."""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from lingula.core.errors import UserError

LARGEST = 2**31
"""Bytes that a workbook may unpack to; more is taken for a trap."""
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What unpacking raises; the last one where a part is encrypted or packed in an unknown way."""
_COLUMN = re.compile(r"[A-Z]+")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def sheet_rows(path: Path) -> Iterator[list[str]]:
    """Yield the cells of every row of the first sheet, without the blank ones at a row's end.

    Raises:
        UserError: The file is no workbook, is damaged, or unpacks to more than `LARGEST` bytes.
    """
    try:
        with zipfile.ZipFile(path) as book:
            if sum(part.file_size for part in book.infolist()) > LARGEST:
                raise UserError(f"workbook {path} unpacks to more than {LARGEST:,} bytes", "Save its first sheet as .csv.")
            shared = _shared_strings(book)
            with book.open(_first_sheet(book)) as file:
                for _, element in ElementTree.iterparse(file):
                    if _tag(element) == "row":
                        yield _row(element, shared)
                        element.clear()
    except (*DAMAGED, ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"{path} is no workbook that can be read ({error})", "Download it again, or save it as .csv.") from None


def _first_sheet(book: zipfile.ZipFile) -> str:
    """Return the name of the part that holds the first sheet."""
    sheets = ElementTree.fromstring(book.read("xl/workbook.xml")).findall("{*}sheets/{*}sheet")
    wanted = next((value for name, value in sheets[0].attrib.items() if name.endswith("}id")), "")
    for relation in ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels")):
        if relation.get("Id") == wanted:
            return posixpath.normpath(posixpath.join("/xl", relation.attrib["Target"])).lstrip("/")
    raise KeyError(wanted)


def _shared_strings(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    return [_text(item) for item in ElementTree.fromstring(book.read("xl/sharedStrings.xml"))]


def _row(row: ElementTree.Element, shared: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.findall("{*}c"):
        named = _COLUMN.match(cell.get("r", ""))
        place = _place(named.group()) if named else len(cells)
        cells += [""] * (place - len(cells)) + [_value(cell, shared)]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _place(letters: str) -> int:
    """Return a column's place from its letters.

    >>> _place("A"), _place("Z"), _place("AB")
    (0, 25, 27)
    """
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    if cell.get("t") == "inlineStr":
        return "".join(_text(item) for item in cell.findall("{*}is"))
    value = cell.findtext("{*}v", "")
    if cell.get("t") == "s":
        return shared[int(value)]
    return _unescaped(value)


def _text(item: ElementTree.Element) -> str:
    """Return the text of a string, in one piece or in runs of different formats; readings (phonetic) are left out."""
    return _unescaped("".join(part.text or "" for part in [*item.findall("{*}t"), *item.findall("{*}r/{*}t")]))


def _unescaped(text: str) -> str:
    r"""Return a text with the characters that XML cannot hold.

    >>> _unescaped("a_x000D_b")
    'a\rb'
    """
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
