"""The report page in Chromium: nothing wider than a phone or a sheet of paper, tables sort, from file://."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.evaluate import evaluate
from lingula.evaluation.pictures import Picture
from lingula.evaluation.report_page import render_report
from lingula.evaluation.run_view import RunView

CHROMIUM = next((found for name in ("chromium", "google-chrome", "chromium-browser") if (found := shutil.which(name))), None)
PHONE, PAPER = 390, 700
LONG_REPORT = "The heart is normal in size and the lungs are clear. " * 50
SHEET = 1010
"""What fits on a sheet of A4 between the margins, in CSS pixels."""
MEASURE = """
const wide = [...document.querySelectorAll("main *, header *")].filter((each) =>
  !each.closest(".scroll, figure, svg") && each.getBoundingClientRect().right > innerWidth + 1);
const cut = [...document.querySelectorAll("table, figure > svg")].filter((each) =>
  each.getBoundingClientRect().right > innerWidth + 1);
const blocks = [...document.querySelectorAll("figure, .card, tr, .command, .sample ul, .sample p")];
const split = blocks.filter((each) => getComputedStyle(each).breakInside !== "avoid");
const tall = blocks.filter((each) => each.getBoundingClientRect().height > SHEET);
const table = document.querySelector("#zero-shot").parentElement.querySelector("table.sortable");
const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].querySelector("span").textContent);
const before = column();
table.tHead.rows[0].cells[1].click();
const up = column();
table.tHead.rows[0].cells[1].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
const down = column();
dispatchEvent(new Event("beforeprint"));
const closed = document.querySelectorAll("details:not([open])").length;
dispatchEvent(new Event("afterprint"));
const page = document.documentElement.scrollWidth;
const reopened = document.querySelectorAll("details:not([open])").length;
const paper = getComputedStyle(document.body).backgroundColor;
const found = { width: innerWidth, page, wide: wide.length, cut: cut.length, before, up, down, closed, reopened, paper };
found.split = split.length;
found.tall = tall.map((each) => each.className || each.tagName);
found.pictures = document.images.length;
document.title = JSON.stringify(found);
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Any], make_encoder: Callable[..., Any]) -> str:
    if CHROMIUM is None:
        pytest.skip("REPORT PAGE NOT TESTED IN A BROWSER: no Chromium here")
    store, views = make_store(name="phantom-x"), []
    for method, noise in (("clip", 0.5), ("m-flag", 2.0), ("a-run-with-a-rather-long-name", 1.0)):
        run = tmp_path_factory.mktemp("runs") / method
        run.mkdir()
        (run / "config.yaml").write_text(f"method: {{name: {method}}}\nimage_encoder: {{name: resnet18, weights: none}}\n")
        (run / "metrics.jsonl").write_text("".join(f'{{"step": {s}, "loss": {5 - s / 50}}}\n' for s in range(10, 101, 10)))
        config = EvaluateConfig(store=Path("x"), bootstrap=20, task=("zero-shot", "probe", "retrieve"), draws=1)
        results = evaluate(make_encoder(store, noise=noise, name=method), store, config, run / "evaluation")
        results["probe"].with_pictures(tall_and_wide()).save(run / "evaluation" / "probe")
        view = RunView.open(run)
        view.samples = [each.model_copy(update={"text": LONG_REPORT}) for each in view.samples]
        views.append(view)
    return render_report(views)


def tall_and_wide() -> list[Picture]:
    shapes = ((64, 64), (64, 640), (1400, 90))
    return [Picture(np.full((*shape, 3), 128, np.uint8), f"{shape[0]} high, {shape[1]} wide") for shape in shapes]


def measure(page: str, folder: Path, width: int, *options: str) -> dict[str, Any]:
    """Open the page in a window of a width and return what its script measures there."""
    assert CHROMIUM is not None
    file = folder / "report.html"
    file.write_text(
        page.replace("</body>", f"<script>{{{MEASURE.replace('SHEET', str(SHEET))}}}</script></body>"), encoding="utf-8"
    )
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command += [*options, f"--window-size={width},2000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    found: dict[str, Any] = json.loads(title[1])
    assert found["width"] <= max(width, 500)
    return found


def test_a_phone_shows_all_and_tables_sort(page: str, tmp_path: Path) -> None:
    found = measure(page, tmp_path, PHONE)
    assert found["page"] <= found["width"]
    assert found["wide"] == 0
    assert sorted(found["before"], key=float) == found["up"] == found["down"][::-1]
    assert found["up"] != found["down"]
    assert found["closed"] == 0
    assert found["reopened"] > 0


def test_paper_cuts_nothing(page: str, tmp_path: Path) -> None:
    assert page.count("@media print") == 1
    found = measure(page.replace("@media print", "@media screen").replace("<details", "<details open"), tmp_path, PAPER)
    assert found["width"] == PAPER
    assert (found["wide"], found["cut"]) == (0, 0)
    assert found["split"] == 0
    assert found["tall"] == []
    assert found["pictures"] == 3 * 3 + 8
    assert found["page"] <= PAPER


def test_dark_mode_is_dark(page: str, tmp_path: Path) -> None:
    light = measure(page, tmp_path, PAPER)["paper"]
    dark = measure(page, tmp_path, PAPER, "--blink-settings=preferredColorScheme=0")["paper"]
    assert light == "rgb(255, 255, 255)"
    assert max(map(int, re.findall(r"\d+", dark))) < 60


def test_it_prints_to_a_pdf_of_several_pages(page: str, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    out = tmp_path / "report.pdf"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    subprocess.run(
        [*command, f"--print-to-pdf={out}", (tmp_path / "report.html").as_uri()], capture_output=True, timeout=120, check=True
    )
    assert out.read_bytes().startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", out.read_bytes())) >= 3
