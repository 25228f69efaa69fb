"""A task that the tables and the page have never heard of: its numbers and pictures are shown all the same."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lingula.evaluation.comparison import paired_difference
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.evaluate import evaluate
from lingula.evaluation.metric_grid import label_grid, metric_grid, subgroup_grid
from lingula.evaluation.pictures import Picture
from lingula.evaluation.report_page import render_report
from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.run_view import RunView
from lingula.evaluation.tables import difference_lines, print_tables, tasks_of


def row(metric: str, label: str, value: float | None, **more: Any) -> ResultRow:
    ends = {} if value is None else {"low": value - 0.05, "high": value + 0.05}
    return ResultRow(metric=metric, label=label, value=value, **({"n": 40} | ends | more))


def made_up(shift: float = 0.0, settings: tuple[str, ...] = ("10 %", "100 %")) -> TaskResult:
    rows = [
        each
        for place, setting in enumerate(settings)
        for each in (
            row("Dice", "Edema", 0.412 + shift + place / 10, setting=setting, chance=0.031),
            row("IoU", "Edema", 0.317 + shift + place / 10, setting=setting),
            row("Dice", "Nodule", 0.202 + shift + place / 10, setting=setting, n=12, chance=0.004),
            row("IoU", "Nodule", None, setting=setting, n=12),
            row("Dice", "macro", 0.307 + shift + place / 10, setting=setting, chance=0.0175),
            row("Dice", "macro", 0.251 + shift, setting=setting, subgroup="sex: F", n=21),
            row("Dice", "Edema", 0.999, setting=setting, subgroup="sex: F", n=21),
            row("surface distance", "Edema", 123.456, setting=setting),
        )
    ]
    options = "--store x --task find-the-key"
    return TaskResult(
        task="find-the-key",
        encoder="e",
        encoder_fingerprint="f",
        store="shelf",
        store_fingerprint="t",
        split="test",
        rows=rows,
        notes=["Nodules are few."],
        protocol={"options": options, "side": 96},
    )


def pictures(count: int, width: int = 24) -> list[Picture]:
    shades = np.linspace(0, 255, count).astype(np.uint8)
    return [Picture(np.full((16, width, 3), shade, np.uint8), f"caption {n} <i>") for n, shade in enumerate(shades)]


def write_run(folder: Path, result: TaskResult, name: str = "clip") -> RunView:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"method: {{name: {name}}}\nimage_encoder: {{name: resnet18, weights: none}}\n")
    result.save(folder / "evaluation" / result.task)
    return RunView.open(folder)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_one_run_shows_labels_down_metrics_across_with_interval_and_chance(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", made_up().with_pictures(pictures(3)))
    page = render_report([run])
    assert '<h2 id="find-the-key">Find the key</h2>' in page
    section = text_of(page[page.index('<h2 id="find-the-key">') : page.index('<h2 id="settings">')])
    assert "Dice n 10 % 0.307 0.26 – 0.36 chance 0.018 40 100 % 0.407 0.36 – 0.46 chance 0.018 40 Every label" in section
    assert "Every label label Dice IoU surface distance n 10 % Edema" in section
    assert "Edema 0.412 0.36 – 0.46 chance 0.031 0.317 0.27 – 0.37 123.5 123.4 – 123.5 40" in section
    assert "Nodule 0.202 0.15 – 0.25 chance 0.004 – – 12" in section
    labels = section[section.index("Every label") :]
    assert labels.index("10 %") < labels.index("Edema") < labels.index("Nodule") < labels.index("100 %")
    assert "Subgroups Dice n sex: F, 10 % 0.251 0.20 – 0.30 21 sex: F, 100 % 0.251" in section
    assert "0.999" not in section
    assert "Nodules are few." in section
    assert "--store x --task find-the-key" in section
    assert "Thresholds of F1" not in section
    assert 'aria-label="Dice per finding, find-the-key 100 %.' in page


def test_several_runs_stand_under_each_other_and_pictures_follow_in_order(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", made_up().with_pictures(pictures(3))),
        write_run(tmp_path / "b", made_up(0.1).with_pictures(pictures(1, width=60))),
    ]
    page = render_report(runs)
    section = text_of(page)
    assert "run Dice n 10 % a 0.307" in section
    assert "10 % b 0.407" in section
    assert section.index("Edema a 0.412") < section.index("Edema b 0.512") < section.index("Nodule a")
    captions = re.findall(r"<figcaption>(caption \d) &lt;i&gt;</figcaption>", page)
    assert captions == ["caption 0", "caption 1", "caption 2", "caption 0"]
    assert page.count('<figure class="picture">') == 3
    assert page.count('<figure class="picture wide">') == 1
    assert page.count('alt="caption 0 &lt;i&gt;"') == 2
    assert difference_lines(runs) == []
    assert tasks_of(runs) == ["find-the-key"]


def test_figures_show_a_setting_that_all_runs_have(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", made_up(settings=("10 %", "100 %", "100 %, own decoder"))),
        write_run(tmp_path / "b", made_up(0.1)),
    ]
    assert 'aria-label="Dice per finding, find-the-key 100 %.' in render_report(runs)
    assert 'aria-label="Dice per finding, find-the-key 100 %, own decoder.' in render_report(runs[:1])


def test_the_terminal_shows_the_means_within_its_width(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, made_up(shift)) for name, shift in (("a", 0.0), ("b", 0.1))]
    console = Console(width=100, record=True, file=io.StringIO())
    print_tables(runs, console)
    text = console.export_text()
    assert "Find the key: shelf, test" in text
    assert "chance 0.018" in text
    assert "Edema" not in text
    assert re.search(r"10 %\s+│ b\s+│ 40\s+│ +0\.407", text)
    assert max(map(len, text.splitlines())) <= 100


def test_metrics_that_the_terminal_has_no_room_for_come_in_further_tables(tmp_path: Path) -> None:
    metrics = [f"metric {number}" for number in range(12)]
    rows = [row(name, "macro", 0.1 + number / 100) for number, name in enumerate(metrics)]
    result = made_up().model_copy(update={"rows": [*rows, row("shelves", "", 0.9)]})
    runs = [write_run(tmp_path / "a", result)]
    console = Console(width=100, record=True, file=io.StringIO())
    print_tables(runs, console)
    text = console.export_text()
    assert text.count("┏") > 1
    for number in range(12):
        assert text.count(f"{0.1 + number / 100:.3f}") == 1
    assert text.count("0.900") == 1
    assert max(map(len, text.splitlines())) <= 100
    assert "–" not in text.replace(" – ", ""), "a line without any number of a table is not in it"


def test_what_was_not_evaluated_now_is_not_printed_again(tmp_path: Path) -> None:
    """Earlier results and their differences from the start lie in the same folder."""
    view = write_run(tmp_path / "a", made_up())
    view.results["earlier"] = made_up().model_copy(update={"task": "earlier"})
    view.differences = {"earlier": [row("Dice", "macro", 0.777)], "find-the-key": [row("Dice", "macro", 0.555)]}
    console = Console(width=100, record=True, file=io.StringIO())
    print_tables([view.only(["find-the-key"])], console)
    text = console.export_text()
    assert "Find the key: shelf, test" in text
    assert "+0.555" in text
    assert "Earlier" not in text
    assert "+0.777" not in text


def test_a_task_without_labels_has_one_line_per_setting() -> None:
    rows = [
        row("mAP", "", 0.1, setting="IoU 0.5"),
        row("recall", "", 0.4, setting="IoU 0.5"),
        row("mAP", "", 0.05, setting="IoU 0.75"),
    ]
    grid = metric_grid({"run": made_up().model_copy(update={"rows": rows})})
    assert grid.metrics == ["mAP", "recall"]
    assert [(line.group, line.name) for line in grid.lines] == [("", "IoU 0.5"), ("", "IoU 0.75")]
    assert [cell and cell.value for cell in grid.lines[1].cells] == [0.05, None]
    alone = metric_grid({"run": made_up().model_copy(update={"rows": [row("pointing recall", "", 0.4)]})})
    assert [(line.group, line.name) for line in alone.lines] == [("", "all")]


def test_a_setting_without_means_shows_every_label_and_one_label_needs_no_mean() -> None:
    rows = [row("Dice", label, 0.3, setting="a") for label in ("Edema", "Nodule", "macro")]
    rows += [row("Dice", label, 0.3, setting="b") for label in ("Edema", "Nodule")]
    result = {"run": made_up().model_copy(update={"rows": rows})}
    assert [(line.group, line.name) for line in metric_grid(result).lines] == [("a", "macro"), ("b", "Edema"), ("b", "Nodule")]
    assert [(line.group, line.name) for line in label_grid(result).lines] == [("a", "Edema"), ("a", "Nodule")]
    single = {
        "run": made_up().model_copy(update={"rows": [row("Dice", label, 0.3, setting="a") for label in ("Edema", "macro")]})
    }
    assert [(line.group, line.name) for line in metric_grid(single).lines] == [("", "a, Edema")]
    assert label_grid(single).lines == []


def test_subgroups_without_a_mean_show_every_label() -> None:
    rows = [row("Dice", label, 0.3, subgroup=sub) for sub in ("sex: F", "sex: M") for label in ("Edema", "Nodule")]
    grid = subgroup_grid({"run": made_up().model_copy(update={"rows": rows})})
    assert [(line.group, line.name) for line in grid.lines] == [
        ("sex: F", "Edema"),
        ("sex: F", "Nodule"),
        ("sex: M", "Edema"),
        ("sex: M", "Nodule"),
    ]
    assert subgroup_grid({"run": made_up().model_copy(update={"rows": [row("Dice", "", 0.1)]})}).lines == []


def test_a_run_that_lacks_the_task_and_a_result_without_numbers_do_not_break_the_page(tmp_path: Path) -> None:
    empty = made_up().model_copy(update={"rows": [], "notes": ["No region in this store."]})
    other = write_run(tmp_path / "none", empty.model_copy(update={"task": "another"}))
    page = render_report([write_run(tmp_path / "has", made_up()), other, write_run(tmp_path / "empty", empty)])
    assert "No region in this store." in page
    assert '<h2 id="another">Another</h2>' in page


@pytest.mark.parametrize("label", ["macro", ""])
def test_saved_differences_from_the_start_are_told(tmp_path: Path, label: str) -> None:
    run = write_run(tmp_path / "x", made_up())
    rows = [row("Dice", label, 0.11, setting="10 %"), row("Dice", "Edema", 0.2), row("Dice", label, 0.3, subgroup="sex: F")]
    values = json.dumps([each.model_dump(mode="json") for each in rows])
    (tmp_path / "x" / "evaluation" / "find-the-key" / "against_start.json").write_text(values)
    name = f"{label} Dice".strip()
    run = RunView.open(run.path)
    assert difference_lines([run]) == [f"Find the key: x − its initial weights: {name}, 10 % +0.110 [+0.060, +0.160]"]


def test_evaluating_with_the_start_keeps_both_sets_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_store: Callable[..., Any], make_encoder: Callable[..., Any]
) -> None:
    store = make_store()
    encoder, start = make_encoder(store, name="trained"), make_encoder(store, name="start")

    def run(encoder: Any, *rest: Any) -> TaskResult:
        return made_up().with_pictures(pictures(2 if encoder.name == "trained" else 1))

    monkeypatch.setattr("lingula.evaluation.evaluate.task", lambda name: run)
    config = EvaluateConfig(store=Path("x")).model_copy(update={"task": ("find-the-key",)})
    evaluate(encoder, store, config, tmp_path / "evaluation", start, samples=False)
    for folder, count in (("find-the-key", 2), ("start/find-the-key", 1)):
        assert len(list((tmp_path / "evaluation" / folder / "pictures").glob("*.png"))) == count
    assert paired_difference(made_up(), made_up()) == []
