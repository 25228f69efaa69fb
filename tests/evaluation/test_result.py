from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow as pa
import pytest

from lingula.core.errors import UserError
from lingula.evaluation.result import ResultRow, TaskResult, number


def result() -> TaskResult:
    rows = [ResultRow(metric="AUROC", label="Edema", value=0.8), ResultRow(metric="AUROC", label="Edema", subgroup="sex: F")]
    values = {
        "task": "probe",
        "encoder": "e",
        "encoder_fingerprint": "1",
        "store": "s",
        "store_fingerprint": "2",
        "split": "test",
    }
    return TaskResult(**values, rows=rows).with_predictions(pa.table({"row_id": ["a"], "score": [math.nan]}))


def test_numbers_and_predictions_come_back(tmp_path: Path) -> None:
    result().save(tmp_path / "probe")
    back = TaskResult.load(tmp_path / "probe")
    assert back.model_dump(mode="json") == result().model_dump(mode="json")
    assert back.predictions.column("row_id").to_pylist() == ["a"]
    assert back.find("AUROC", "Edema").value == 0.8
    assert back.find("AUROC", "Edema", subgroup="sex: F").value is None
    assert back.find("AUROC", "Pneumonia") is None
    json.loads((tmp_path / "probe" / "result.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no result"):
        TaskResult.load(tmp_path)
    result().save(tmp_path)
    (tmp_path / "predictions.parquet").unlink()
    with pytest.raises(UserError, match="no predictions"):
        _ = TaskResult.load(tmp_path).predictions
    (tmp_path / "result.json").write_text('{"task": "probe", "rowz": []}')
    with pytest.raises(UserError):
        TaskResult.load(tmp_path)


def test_undefined_numbers_become_none() -> None:
    assert number(math.nan) is None
    assert number(math.inf) is None
    assert number(0.5) == 0.5
