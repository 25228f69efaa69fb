"""Geometry on the report page: its numbers, its intervals, and a spectrum that shows a collapse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.evaluate import evaluate
from lingula.evaluation.figures import looks, singular_spectra
from lingula.evaluation.report_page import render_report
from lingula.evaluation.run_view import RunView

CONFIG = """
method: {name: m-flag}
data: {store: nowhere, image_size: 96}
image_encoder: {name: resnet18, weights: none}
optimisation: {steps: 100, batch_size: 32}
runtime: {seed: 3}
"""


@pytest.fixture(scope="module")
def views(
    tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Any], make_encoder: Callable[..., Any]
) -> list[RunView]:
    """A sound run, and one whose embeddings lie on a line."""
    root, store, found = tmp_path_factory.mktemp("runs"), make_store(), []
    for name in ("sound", "collapsed"):
        run = root / name
        run.mkdir()
        (run / "config.yaml").write_text(CONFIG)
        (run / "environment.json").write_text(json.dumps({"device": "cpu", "parameters": {"trainable": 1, "total": 2}}))
        (run / "metrics.jsonl").write_text("")
        encoder = make_encoder(store, name=name)
        if name == "collapsed":
            encoder._latents = np.outer(np.linspace(1, 2, 240), np.ones(24)) + np.arange(24)
        evaluate(encoder, store, EvaluateConfig(store=Path("x"), task=("geometry",)), run / "evaluation", samples=False)
        found.append(RunView.open(run))
    return found


def test_every_number_of_the_task_is_on_the_page_with_its_interval(views: list[RunView]) -> None:
    page = render_report(views)
    for view in views:
        rank = view.results["geometry"].find("effective rank", setting="image features")
        assert f"{rank.value:.3f}" in page or f"{rank.value:.1f}" in page or f"{rank.value:.0f}" in page
    for metric in ("effective rank", "uniformity", "mean correlation", "alignment", "Fisher ratio"):
        assert re.search(metric, page, re.IGNORECASE), metric
    assert "jackknife over patients" in page
    assert "Singular spectrum: deviation along each axis" in page


def test_the_spectrum_shows_who_has_collapsed(views: list[RunView]) -> None:
    results = {view.path.name: view.results["geometry"] for view in views}
    drawing = singular_spectra(results, looks(list(results)))
    ranks = dict(re.findall(r"(sound|collapsed): image features (\d+)", drawing))
    assert int(ranks["collapsed"]) == 1 < 5 < int(ranks["sound"])
    for cloud in ("image features", "image latents", "text latents"):
        assert f">{cloud}<" in drawing
