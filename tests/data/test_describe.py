from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from lingula.data.describe import describe
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store


def lines_of(store: Path, out: Path) -> list[str]:
    console = Console(width=120, record=True, quiet=False, file=out.open("w"))
    for table in describe(Store.open(store)):
        console.print(table)
    return [" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()]


def test_tables_hold_the_right_numbers(twelve: Path, tmp_path: Path) -> None:
    (twelve.parent / "images/02.png").write_text("broken")
    prepare(CsvSource(twelve), tmp_path / "store", PrepareConfig(size=32), workers=1)
    lines = lines_of(tmp_path / "store", tmp_path / "out")
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


def test_report_text_is_counted_once_per_study(make_table: Callable[..., Path], tmp_path: Path) -> None:
    reports = [
        "FINDINGS: No effusion. Nodule of 8 mm.\nIMPRESSION: Possible pneumonia.",
        "FINDINGS: Nodule of 9 mm. No effusion.\nIMPRESSION: Possible pneumonia.",
        "FINDINGS: No effusion.",
        "FINDINGS: No  effusion.",
    ]
    rows = [
        {"image": f"{study}{view}.png", "study_id": str(study), "split": "train", "report": text, "labels": "A"}
        for study, text in enumerate(reports)
        for view in "ab"
    ]
    prepare(CsvSource(make_table(rows)), tmp_path / "store", PrepareConfig(size=32), workers=1)
    lines = lines_of(tmp_path / "store", tmp_path / "out")
    for expected in (
        "reports 4 0 0 4",
        "with findings and impression 2 (50.0%) - - 2 (50.0%)",
        "repeat another, word by word 1 (25.0%) - - 1 (25.0%)",
        "repeat another's template 2 (50.0%) - - 2 (50.0%)",
        "findings named, present 2 (25.0%) - - 2 (25.0%)",
        "findings named, denied 4 (50.0%) - - 4 (50.0%)",
        "findings named, uncertain 2 (25.0%) - - 2 (25.0%)",
    ):
        assert expected in lines, expected


def test_a_store_without_text_has_no_table_of_it(make_table: Callable[..., Path], tmp_path: Path) -> None:
    prepare(CsvSource(make_table([{"image": "0.png"}])), tmp_path / "store", PrepareConfig(size=32), workers=1)
    assert not any("Report text" in line for line in lines_of(tmp_path / "store", tmp_path / "out"))
