from __future__ import annotations

import csv
import html.parser
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lingula.cli import main
from lingula.data.data_figures import histogram
from lingula.data.data_page import render_data_page, sheets
from lingula.data.phantom.ct_source import PhantomCtSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.volume_store import VolumeStore

CHROMIUM = next((found for name in ("chromium", "google-chrome", "chromium-browser") if (found := shutil.which(name))), None)
SECRET = "OKONKWO"
MEASURE = """
const wide = [...document.querySelectorAll("main *, header *")].filter((each) =>
  !each.closest(".scroll, figure, svg") && each.getBoundingClientRect().right > innerWidth + 1);
const svgs = [...document.querySelectorAll("figure svg")].filter((each) => each.getBoundingClientRect().height > 40);
const table = document.querySelector("table.sortable");
table.tHead.rows[0].cells[4].click();
const sorted = [...table.tBodies[0].rows].map((row) => row.cells[4].textContent);
const page = document.documentElement.scrollWidth;
const pictures = [...document.images].filter((each) => each.naturalWidth > 300).length;
document.title = JSON.stringify({ width: innerWidth, page, wide: wide.length, drawn: svgs.length, sorted, pictures });
"""


class Reader(html.parser.HTMLParser):
    """Collects what a reader sees, table cells row by row, and every address."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self._cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twenty-four images, two of them repeated across splits, one broken; ids, paths and one report name a patient."""
    folder = tmp_path_factory.mktemp("data")
    (folder / SECRET).mkdir()
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "study_id", "patient_id", "findings", "impression", "labels", "split", "view", "sex", "age"])
        for number in range(24):
            image = f"{SECRET}/{number:02d}.png"
            pixels = np.random.default_rng(max(number, 1)).integers(0, 256, (40, 30), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / image)
            findings = "Small <effusion> on the left." if number % 2 else f"Seen by Dr. {SECRET} on 03.02.2019. Nodule."
            labels = ("Effusion", "Effusion;Nodule", "", "Nodule")[number % 4]
            who = [("train", "val", "test")[number % 3], ("PA", "AP")[number % 2], ("F", "M", "")[number % 3], 40 + number]
            ids = [f"{SECRET}-{number}", f"{SECRET}-p{number}"]
            writer.writerow([image, *ids, findings, "Effusion." if number % 3 else "", labels, *who])
    (folder / SECRET / "05.png").write_text("broken")
    return Store.open(prepare(CsvSource(folder / "table.csv"), folder / "store", PrepareConfig(size=32), workers=1).store)


@pytest.fixture(scope="module")
def page(store: Store) -> str:
    """The page as the command writes it."""
    file = store.path.parent / "page.html"
    main(["data", "describe", str(store.path), "--page", str(file)])
    return file.read_text(encoding="utf-8")


def test_the_page_is_self_contained_and_names_nobody(store: Store, page: str) -> None:
    assert SECRET not in page
    assert not [name for name in store.column("study_id") + store.column("patient_id") if name in page]
    outside = [each for each in Reader(page).addresses if not each.startswith(("#", "data:image/png;base64,"))]
    assert outside == []
    assert not re.findall(r"url\((?!#)|@import", page)


def test_its_tables_hold_the_right_numbers(page: str) -> None:
    rows = Reader(page).rows
    for expected in (
        ["images", "8", "8", "7", "23"],
        ["images", "23", "22", "1", "1"],
        ["texts (one per study)", "23", "4", "19", "2"],
        ["not a PNG, JPEG or DICOM image", "1"],
        ["report", "name", "title and name", "12"],
        ["report", "date", "three numbers", "12"],
    ):
        assert expected in rows, expected


def test_what_a_store_has_nothing_of_has_no_section(make_table: Callable[..., Path], tmp_path: Path) -> None:
    table = make_table([{"image": "0.png"}])
    page = render_data_page(Store.open(prepare(CsvSource(table), tmp_path / "s", PrepareConfig(size=32), workers=1).store))
    assert 'id="reports"' not in page
    assert 'id="labels"' not in page
    assert "Nothing was quarantined" in page
    assert "No name, date or number of a patient was found" in page


def test_text_is_shown_only_when_asked_for_and_masked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("lingula.data.contact_sheet.wrap", lambda text, width, most: drawn.append(text) or [text][:most])
    sheets(store, with_text=False)
    assert not any("effusion" in text for text in drawn)
    drawn.clear()
    sheets(store, with_text=True)
    assert any("Small <effusion> on the left." in text for text in drawn)
    assert any("Seen by ▇▇▇ on ▇▇▇. Nodule." in text for text in drawn)


def test_a_histogram_counts_every_known_value_once() -> None:
    generator = np.random.default_rng(0)
    values = {"train": np.append(generator.integers(0, 80, 500).astype(float), np.nan), "val": np.array([3.0, 900.0])}
    assert "medians train 4" in histogram(values, "x", "X", "years")
    assert histogram({"train": np.full(4, np.nan), "val": np.array([2.0])}, "x", "X", "years") == ""


def test_a_store_of_volumes_shows_spacing_and_hounsfield_units(tmp_path: Path) -> None:
    settings = PrepareVolumesConfig(spacing=12.0)
    store = prepare(PhantomCtSource(3, 1, 1, seed=0, spacing=12.0), tmp_path / "ct", settings, workers=1).store
    page = render_data_page(VolumeStore.open(store))
    assert "5 CT volumes, RAS, voxels of 12 mm, int16 HU" in page
    assert page.count("data:image/png;base64,") == 3
    assert 'aria-label="Hounsfield units of up to 16 volumes per split."' in page
    assert 'aria-label="Extent along z: medians' in page
    assert ["finest spacing, mm: median", "12", "12", "12", "12"] in Reader(page).rows


@pytest.mark.skipif(CHROMIUM is None, reason="DATA PAGE NOT TESTED IN A BROWSER: no Chromium here")
@pytest.mark.parametrize("width", [390, 1150])
def test_a_browser_shows_all_of_it_on_a_phone_and_on_a_desk(page: str, tmp_path: Path, width: int) -> None:
    assert CHROMIUM is not None
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"<script>{{{MEASURE}}}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, f"--window-size={width},2000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    found = json.loads(title[1])
    assert found["page"] <= found["width"]
    assert (found["wide"], found["pictures"]) == (0, 3)
    assert found["drawn"] == 8  # projection, sex, age, words, sections, prevalence, together, reasons
    assert sorted(found["sorted"], key=float) == found["sorted"]
