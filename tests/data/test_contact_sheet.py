from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lingula.core.errors import UserError
from lingula.data.contact_sheet import BACKGROUND, CELL, GAP, PALETTE, draw_contact_sheet
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store

MakeTable = Callable[..., Path]


@pytest.fixture
def store(twelve: Path, make_table: MakeTable, tmp_path: Path) -> Store:
    box = {"image": "images/01.png", "label": "nodule", "x1": 5, "y1": 10, "x2": 25, "y2": 30}
    make_table([box], "data/boxes.csv", images=False)
    prepare(CsvSource(twelve), tmp_path / "store", PrepareConfig(size=40), workers=1)
    return Store.open(tmp_path / "store")


def _cell(sheet: Path, number: int) -> np.ndarray:
    left = GAP + number * (CELL + GAP)
    return np.asarray(Image.open(sheet))[GAP : GAP + CELL, left : left + CELL].astype(int)


def test_each_image_is_drawn_in_its_cell(store: Store, tmp_path: Path) -> None:
    sheet = draw_contact_sheet(store, tmp_path / "sheet.png", rows=[4, 0], columns=4)
    for number, row in enumerate([4, 0]):
        shown = _cell(sheet, number).mean(axis=2).reshape(40, 8, 40, 8).mean(axis=(1, 3))
        assert np.corrcoef(shown.ravel(), np.asarray(store.pixels(row)).ravel())[0, 1] > 0.95
    assert Image.open(sheet).width == GAP + 2 * (CELL + GAP)


def test_a_box_is_drawn_where_it_lies(store: Store, tmp_path: Path) -> None:
    cell = _cell(draw_contact_sheet(store, tmp_path / "sheet.png", rows=[1]), 0)
    rows, columns = np.nonzero((cell == PALETTE[0]).all(axis=2))
    assert [columns.min(), rows.min(), columns.max(), rows.max()] == pytest.approx([80, 80, 240, 240], abs=1)


def test_rows_are_chosen_by_split_finding_and_text(store: Store, tmp_path: Path) -> None:
    def width(**choice: object) -> int:
        sheet = draw_contact_sheet(store, tmp_path / "sheet.png", columns=12, **choice)
        return (Image.open(sheet).width - GAP) // (CELL + GAP)

    assert width() == 12
    assert width(count=5) == 5
    assert width(split="val") == 4
    assert width(split="val", with_text=True) == 2
    assert width(finding="Effusion") == 6
    assert width(finding="nodule") == 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"rows": [12]}, "no row 12"),
        ({"finding": "Efusion"}, "Did you mean 'Effusion'"),
        ({"finding": "nodule", "with_text": False}, "no image of .* fits: with 'nodule' without text"),
    ],
)
def test_nothing_to_draw(store: Store, tmp_path: Path, choice: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_contact_sheet(store, tmp_path / "sheet.png", **choice)
    assert not (tmp_path / "sheet.png").exists()


def test_long_words_and_other_scripts_do_not_break_it(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table([{"image": "0.png", "text": "x" * 500 + " 肺炎 " + "word " * 200, "labels": "Épanchement pleural"}])
    prepare(CsvSource(table), tmp_path / "store", PrepareConfig(size=32), workers=1)
    sheet = Image.open(draw_contact_sheet(Store.open(tmp_path / "store"), tmp_path / "sheet.png"))
    assert sheet.height < 2 * CELL
    assert (np.asarray(sheet)[:, -GAP:] == BACKGROUND).all()
