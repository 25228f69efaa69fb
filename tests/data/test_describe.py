from __future__ import annotations

from pathlib import Path

from rich.console import Console

from lingula.data.describe import describe
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store


def test_tables_hold_the_right_numbers(twelve: Path, tmp_path: Path) -> None:
    (twelve.parent / "images/02.png").write_text("broken")
    prepare(CsvSource(twelve), tmp_path / "store", PrepareConfig(size=32), workers=1)
    console = Console(width=120, record=True, quiet=False, file=(tmp_path / "out").open("w"))
    for table in describe(Store.open(tmp_path / "store")):
        console.print(table)
    lines = [" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()]
    for expected in (
        "images 4 3 4 11",
        "images with text 2 2 2 6",
        "patients 2 2 2 6",
        "words per text (median) 4 4 4 4",
        "projection AP 1 1 1 3",
        "age, years: range 40-47 43-49 44-51 40-51",
        "longer side, px: median 40 40 40 40",
        "Effusion 2 2 2 6 3 0 66.7%",
        "CC0 1.0 11",
        "not a PNG, JPEG or DICOM image 1 images/02.png",
    ):
        assert expected in lines, expected
