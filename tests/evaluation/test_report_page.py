from __future__ import annotations

import dataclasses
import html.parser
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lingula.core.errors import UserError
from lingula.core.files import read_json_lines
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.evaluate import evaluate
from lingula.evaluation.figures import looks, training_curves
from lingula.evaluation.report_page import protocol_rows, render_report, write_report
from lingula.evaluation.result import ResultRow
from lingula.evaluation.run_facts import run_facts
from lingula.evaluation.run_view import RunView
from lingula.evaluation.tables import cell, difference_lines, print_tables
from lingula.models.text_config import SmallLanguageModelConfig, TextEncoderConfig

CONFIG = """
method: {name: METHOD, temperature: 0.07}
data: {store: nowhere, image_size: 96}
image_encoder: {name: resnet18, weights: imagenet}
text_encoder: {name: small, frozen: true}
optimisation: {steps: 100, batch_size: 32}
runtime: {seed: 3}
"""


def write_run(folder: Path, method: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.replace("METHOD", method))
    parameters = {"trainable": 2_000_000, "total": 8_000_000}
    (folder / "environment.json").write_text(json.dumps({"device": "cpu (x)", "git_commit": "abc", "parameters": parameters}))
    lines = [{"step": s, "loss": 5.0 - s / 50, "learning_rate": 1e-3} for s in range(10, 101, 10)]
    lines.append({"step": 100, "validation/loss": 3.3})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 110, "lo')
    return folder


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Any], make_encoder: Callable[..., Any]
) -> list[RunView]:
    root = tmp_path_factory.mktemp("runs")
    store = make_store()
    views = []
    for method, noise, findings in (
        ("clip", 0.5, ()),
        ("m-flag", 2.0, ()),
        ("supervised", 0.3, ("Edema", "Atelectasis", "Pneumonia")),
    ):
        run = write_run(root / method, method)
        tasks = ("supervised", "probe") if findings else ("zero-shot", "probe", "retrieve")
        config = EvaluateConfig(store=Path("x"), bootstrap=30, task=tasks, fraction=(0.1, 1.0), draws=2)
        encoder = make_encoder(store, noise=noise, name=method, findings=findings)
        start = make_encoder(store, noise=9.0, name="start") if method == "clip" else None
        evaluate(encoder, store, config, run / "evaluation", start)
        views.append(RunView.open(run))
    return views


class Checker(html.parser.HTMLParser):
    """Collects ids, references and unbalanced tags."""

    void = frozenset({"meta", "img", "link", "br", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.images_without_alt = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if "id" in values:
            self.ids.append(str(values["id"]))
        self.links += [str(values[name]) for name in ("href", "src", "xlink:href") if values.get(name)]
        self.images_without_alt += tag == "img" and not values.get("alt")
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in checker.links)
    assert {link[1:] for link in checker.links if link.startswith("#")} <= set(checker.ids)
    assert checker.images_without_alt == 0
    without_names = re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)
    assert not re.search(r"https?://|@import|<script[^>]|<link|fetch\(|XMLHttp", without_names)
    assert page.count("<script>") == 1
    return checker


def test_the_page_of_several_runs_is_whole_and_self_contained(runs: list[RunView], tmp_path: Path) -> None:
    path = write_report(runs, tmp_path / "report.html", "Three <methods>")
    page = path.read_text(encoding="utf-8")
    check(page)
    assert "Three &lt;methods&gt;" in page
    for task, setting in (("zero-shot", ""), ("probe", "100 %")):
        for run in runs[:2]:
            assert f"{run.results[task].find('AUROC', 'macro', setting).value:.3f}" in page
    assert "supervised ceiling" in page
    assert page.count("weights: imagenet") >= 3
    assert page.count(f"lingula evaluate {runs[2].path} --store x --task supervised") == 1
    assert page.count(f"lingula evaluate {runs[2].path} --store x --task probe") == 1
    assert page.count(f"lingula evaluate {runs[1].path} --store x --task zero-shot") == 1
    assert "--store x --task probe --fraction 0.1 1.0 --draws 2 --bootstrap 30" in page
    assert f"lingula pretrain clip --config {runs[0].path / 'config.yaml'} --run NEW_FOLDER" in page
    assert "Expected calibration error: clip 0." in page
    assert "sex: F" in page
    assert re.search(r"2\s000\s000 trainable of 8\s000\s000 \(25 %\)", page)
    assert "Quarantined (unreadable) images: <strong>1</strong>" in page
    assert "without text" in page
    assert page.count("data:image/png;base64,") == 8
    assert page.count('role="img"') >= 4
    assert "its initial weights" in page
    assert "Phantom numbers" not in page


def test_phantom_numbers_carry_the_banner(runs: list[RunView]) -> None:
    runs[0].data["phantom"] = True
    try:
        page = render_report(runs[:1])
        assert "synthetic patients, not a claim about people" in page
        assert '<span class="tag">phantom</span>' in page
    finally:
        runs[0].data["phantom"] = False


def test_each_table_of_phantom_numbers_is_marked(runs: list[RunView]) -> None:
    result = runs[0].results["probe"]
    runs[0].results["probe"] = result.model_copy(update={"phantom": True})
    try:
        page = render_report(runs[:1])
        assert page.count("phantom numbers</span>") == 1
        assert '<h2 id="probe">Linear probe <span class="tag">phantom numbers</span>' in page
    finally:
        runs[0].results["probe"] = result


def test_weights_are_always_named_and_an_old_result_says_that_it_lacks_its_command(runs: list[RunView]) -> None:
    config, result = runs[0].config, runs[0].results["probe"]
    runs[0].config = {**config, "image_encoder": {"name": "resnet18"}}
    runs[0].results["probe"] = result.model_copy(update={"protocol": {**result.protocol, "options": None}})
    try:
        page = render_report(runs[:1])
        assert "weights: not recorded" in page
        assert "options not recorded" in page
    finally:
        runs[0].config, runs[0].results["probe"] = config, result


@pytest.mark.parametrize("weights", ["none", "imagenet", "weights/mine.safetensors"])
def test_where_the_image_encoder_starts_from_is_written_in_the_words_of_the_option(runs: list[RunView], weights: str) -> None:
    run = dataclasses.replace(runs[0], config={**runs[0].config, "image_encoder": {"name": "resnet18", "weights": weights}})
    assert dict(run_facts(run))["Weights"] == f"weights: {weights}"
    begun = dataclasses.replace(run, environment={"starting_weights": {"init_from": "runs/older"}})
    assert dict(run_facts(begun))["Weights"] == f"weights: {weights}, then all of runs/older"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TextEncoderConfig().model_dump(),
            "small, trained on the reports of this store, 192 features, words without their order, frozen",
        ),
        (
            TextEncoderConfig(small=SmallLanguageModelConfig(layers=2), frozen=False).model_dump(),
            "small, trained on the reports of this store, 192 features, transformer layers: 2, trained along",
        ),
        (
            TextEncoderConfig(name="pubmed-bert").model_dump(),
            "pubmed-bert, microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext at e1354b7a3a09, frozen",
        ),
        (
            TextEncoderConfig(name="cxr-bert-general", revision="main").model_dump(),
            "cxr-bert-general, microsoft/BiomedVLP-CXR-BERT-general at main, frozen",
        ),
        (
            TextEncoderConfig(name="pubmed-bert", folder=Path("models/x")).model_dump(),
            "pubmed-bert, files in models/x, frozen",
        ),
        (TextEncoderConfig(name="owner/model", revision="v2").model_dump(), "owner/model, at v2, frozen"),
        (TextEncoderConfig(name="runs/language-model").model_dump(), "runs/language-model, frozen"),
    ],
)
def test_the_language_model_is_named_with_what_it_is(runs: list[RunView], text: dict[str, Any], said: str) -> None:
    run = dataclasses.replace(runs[0], config={**runs[0].config, "text_encoder": text})
    assert dict(run_facts(run))["Text encoder"] == said


def test_a_run_keeps_its_colour_where_another_run_lacks_the_task(runs: list[RunView]) -> None:
    without = dataclasses.replace(runs[0], results={"zero-shot": runs[0].results["zero-shot"]}, differences={})
    page = render_report([without, runs[1]])
    colour = looks([run.name for run in runs[:2]])[runs[1].name].colour
    probe = page[page.index('<h2 id="probe">') : page.index('<h2 id="retrieve">')]
    assert f'<span class="dot" style="background:{colour}"></span>m-flag' in probe
    assert f"stroke: {colour}" in probe
    assert f"stroke: {looks(['clip'])['clip'].colour}" not in probe


def test_a_protocol_is_told_once_and_where_runs_differ_for_each(runs: list[RunView]) -> None:
    result = runs[0].results["zero-shot"]
    chosen = [{"scoring": "difference", "validation macro AUROC": {"difference": 0.5528570884054549, "positive": None}}]
    shared = {
        "prompts": {"Edema": {"positive": ["wet", "wetter"], "negative": ["dry"]}},
        "k": [1, 5],
        "where": [],
        "options": "x",
    }
    results = {
        "a": result.model_copy(update={"protocol": {**shared, "scoring": chosen}}),
        "b": result.model_copy(update={"protocol": {**shared, "scoring": "positive", "note": 0.1}}),
    }
    assert protocol_rows(results) == [
        ("prompts: Edema", "+ wet · wetter  − dry"),
        ("k", "1, 5"),
        ("scoring, a", "scoring difference, validation macro AUROC difference 0.5529, positive None"),
        ("scoring, b", "positive"),
        ("note", "0.1"),
    ]


def test_twelve_runs_look_different() -> None:
    assert len({(look.colour, look.marker) for look in looks([str(number) for number in range(12)]).values()}) == 12


def test_a_run_without_evaluation_has_a_page(tmp_path: Path) -> None:
    run = RunView.open(write_run(tmp_path / "alone", "clip"))
    page = render_report([run])
    check(page)
    assert "Training" in page
    assert "Zero-shot" not in page
    (tmp_path / "alone" / "metrics.jsonl").unlink()
    (tmp_path / "alone" / "environment.json").unlink()
    check(render_report([RunView.open(tmp_path / "alone")]))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run"):
        RunView.open(tmp_path)
    with pytest.raises(UserError, match="no run"):
        render_report([])


def test_a_cut_last_line_is_left_out_but_a_broken_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st')
    assert read_json_lines(path) == [{"step": 1}]
    path.write_text('{"st\n{"step": 1}\n')
    with pytest.raises(UserError, match="line 1"):
        read_json_lines(path)


def test_curves_take_their_ink_from_the_page_and_say_what_they_show(runs: list[RunView]) -> None:
    svg = training_curves(runs, looks([run.name for run in runs]))
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert 'aria-label="Training curves. clip: loss from 4.8 to 3' in svg
    assert "<metadata" not in svg


def test_terminal_tables_fit_and_tell_chance_ceiling_and_differences(runs: list[RunView]) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    print_tables(runs, console, detail=True)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "macro AUROC" in text
    assert "(ceiling)" in text
    assert "0.500" in text
    assert "Edema AUROC" in text
    assert "×" in text
    lines = difference_lines(runs, samples=20)
    assert any(line.startswith("Zero-shot classification: m-flag − clip: macro AUROC −") for line in lines)
    assert any("clip − its initial weights" in line for line in lines)


def test_intervals_are_told_only_where_there_are_some(runs: list[RunView]) -> None:
    result = runs[0].results["zero-shot"]
    bare = result.model_copy(update={"rows": [row.model_copy(update={"low": None, "high": None}) for row in result.rows]})
    for results, told in (({"zero-shot": result}, True), ({"zero-shot": bare}, False)):
        view = dataclasses.replace(runs[0], results=results, differences={})
        page, console = render_report([view]), Console(width=100, record=True, file=io.StringIO())
        print_tables([view], console)
        section = page[page.index('<h2 id="zero-shot">') :]
        assert ("Intervals: 95 %, bootstrap over patients." in section) == told
        assert ("AUROC, 95 % interval" in section) == told
        assert ("Intervals" in console.export_text()) == told


def test_cells() -> None:
    assert cell(None) == "–"
    assert cell(ResultRow(metric="AUROC", value=0.8124, low=0.7, high=0.9)) == "0.812 [0.70, 0.90]"
    assert (
        cell(ResultRow(metric="recall@1", value=0.02, low=0.01, high=0.03, chance=0.001), times=True)
        == "0.020 [0.010, 0.030] 20×"
    )
    assert cell(ResultRow(metric="median rank", value=12.0, low=9.0, high=15.0, chance=500.0), times=True) == "12 [9, 15]"
