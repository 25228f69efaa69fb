from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lingula.core.errors import UserError
from lingula.evaluation.comparison import paired_difference
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.evaluate import TASKS, evaluate, task
from lingula.evaluation.result import TaskResult
from lingula.evaluation.samples import load_samples


def test_every_task_can_be_found_and_a_typo_is_answered() -> None:
    assert all(callable(task(name)) for name in TASKS)
    with pytest.raises(UserError, match="Did you mean 'zero-shot'"):
        task("zeroshot")


def test_results_predictions_difference_to_start_and_samples_are_left(
    tmp_path: Path, store: Any, make_encoder: Callable[..., Any]
) -> None:
    config = EvaluateConfig(store=Path("x"), bootstrap=40, fraction=(1.0,))
    trained, start = make_encoder(store, noise=0.4), make_encoder(store, noise=20.0, name="start")
    results = evaluate(trained, store, config, tmp_path, start=start)
    for name in ("zero-shot", "probe", "retrieve"):
        assert TaskResult.load(tmp_path / name).model_dump(mode="json") == results[name].model_dump(mode="json")
        assert (tmp_path / name / "predictions.parquet").is_file()
        rows = json.loads((tmp_path / name / "against_start.json").read_text())
        before = TaskResult.load(tmp_path / "start" / name)
        for row in rows:
            ours, theirs = (r.find(row["metric"], row["label"], row["setting"]) for r in (results[name], before))
            assert row["value"] == pytest.approx(ours.value - theirs.value)
    before = TaskResult.load(tmp_path / "start" / "zero-shot")
    difference = next(row for row in paired_difference(results["zero-shot"], before) if row.label == "macro")
    assert difference.low > 0.1
    assert before.encoder == "start"
    assert json.loads((tmp_path / "data.json").read_text())["quarantined"] == 1
    assert len(load_samples(tmp_path)) == 8


def test_results_on_other_images_cannot_be_compared(store: Any, encoder: Any, make_store: Callable[..., Any]) -> None:
    def result(**values: Any) -> TaskResult:
        config = EvaluateConfig.from_values({"store": "x", "bootstrap": 0, **values}, "test")
        return task(values.get("task", ["zero-shot"])[0])(encoder, store, config, None)

    base = result()
    for other in (result(split="val"), result(label=["Edema"]), result(task=["retrieve"])):
        with pytest.raises(UserError, match=r"cannot be compared|not scored on the same"):
            paired_difference(base, other)
    assert all(row.value == 0 for row in paired_difference(base, result(), samples=5) if row.value is not None)


def test_an_option_for_ct_is_refused_for_radiographs(store: Any, encoder: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--volumes is for CT, and store .* holds radiographs"):
        evaluate(encoder, store, EvaluateConfig(store=Path("x"), volumes="windows"), tmp_path)
    assert not any(tmp_path.iterdir())
