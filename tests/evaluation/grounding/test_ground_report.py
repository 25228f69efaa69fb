"""Grounding in the terminal and on the page."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from blobs import GridEncoder, build_blobs
from rich.console import Console

from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.report_page import render_report
from lingula.evaluation.run_view import RunView
from lingula.evaluation.tables import print_tables
from lingula.evaluation.tasks.ground import run


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[RunView]:
    """Two runs, one of which is blind."""
    store, views = build_blobs(96, name="phantom-blobs"), []
    for encoder in (GridEncoder(name="seer"), GridEncoder(name="blind", sees=False, attends=False)):
        folder: Path = tmp_path_factory.mktemp("runs") / encoder.name
        config = EvaluateConfig(store=Path("x"), bootstrap=20, task=("ground",))
        run(encoder, store, config).save(folder / "evaluation" / "ground")
        (folder / "config.yaml").write_text("method: {name: g2d}\n")
        views.append(RunView.open(folder, encoder.name))
    return views


def test_the_terminal_shows_means_of_every_setting(views: list[RunView]) -> None:
    out = io.StringIO()
    print_tables(views, Console(file=out, width=100))
    text = out.getvalue()
    assert "Grounding: phantom-blobs, test (phantom numbers)" in text
    for words in (
        "phrase",
        "attention",
        "centre prior",
        "finding prior",
        "random",
        "sides, phrase swapped",
        "macro CNR",
        "shift",
    ):
        assert words in text
    assert "Alpha" not in text
    assert re.search(r"macro pointing\s+│\s+1\.000 \[1\.00, 1\.00\]", text)


def test_the_page_has_queries_bars_per_finding_and_pictures(views: list[RunView]) -> None:
    page = render_report(views)
    assert "24 queries" in page
    assert "bars-ground-phrase" in page
    assert page.count("then the first phrase on the mirrored image") >= 8
    start, prior, end = (page.index(name) for name in ("macro pointing", "centre prior", "finding prior"))
    assert 'class="best"' in page[start:prior]
    assert 'class="best"' not in page[prior:end]  # the same number for both runs
