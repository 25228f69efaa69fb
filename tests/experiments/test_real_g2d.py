"""The experiment on real masks and boxes, on made-up ones: every number of its table comes out."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_table import CsvSource

SHORT = {"data": {"image_size": 32}, "optimisation": {"steps": 2, "batch_size": 8}, "runtime": {"precision": "fp32"}}
PATHOLOGIES = ("ground glass opacities", "consolidation", "pneumonia")
ONCE = {"steps": 1, "every": 1}


@pytest.fixture(scope="module")
def experiment(load_experiment: Callable[[str], Any]) -> Any:
    return load_experiment("real_g2d")


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-six noise images with a lung mask, two lung boxes, and opacities in every second one."""
    folder, rng = tmp_path_factory.mktemp("real"), np.random.default_rng(0)
    rows, masks, boxes = [], [], []
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 4:28] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    for number in range(36):
        name = f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / name)
        split = ("train", "val", "test")[number % 3]
        rows.append({"image": name, "patient_id": f"p{number}", "text": f"Case {number}. Clear lungs.", "split": split})
        masks.append({"image": name, "mask": "mask.png", "label": "lungs", "kind": "anatomy"})
        opacity = PATHOLOGIES[number // 6 % 3]
        found = [("right lung", 4), ("left lung", 18)] + [(opacity, 6)] * (number % 2)
        boxes += [{"image": name, "kind": "", "phrase": what, "x1": x, "y1": 8, "x2": x + 10, "y2": 24} for what, x in found]
    for name, table in (("table", rows), ("masks", masks), ("boxes", boxes)):
        write_table(folder / f"{name}.csv", table)
    prepare(CsvSource(folder / "table.csv", folder, CsvConfig()), folder / "store", PrepareConfig(size=32), workers=1)
    return folder / "store"


@pytest.mark.soak
def test_every_number_of_the_table_comes_out(experiment: Any, store: Path, tmp_path: Path) -> None:
    cell = sys.modules["cells"].Cell("g2d", 0)
    numbers = experiment.work(cell, store, tmp_path, SHORT, {"segment": ONCE, "detect": ONCE, "bootstrap": 5, "fraction": (1.0,)})
    found = {number.quantity: number.value for number in numbers}
    assert len(found) == len(numbers)
    for state in experiment.STATES:
        for decoder in ("random", "pre-trained"):
            assert found[f"lung masks · Dice · 100 % of labels, frozen encoder, {decoder} decoder · {state}"] is not None
    for boxes in ("lung boxes", "pathology boxes"):
        assert {f"{boxes} · mAP (strict) · 100 % · {state}" for state in ("before", "after")} <= found.keys()
    gain = "lung masks · Dice · 100 % of labels, frozen encoder, pre-trained decoder"
    after, before, difference = (found[f"{gain} · {state}"] for state in ("after", "before", "after − before"))
    assert difference == pytest.approx(after - before, abs=1e-6)
    assert not (tmp_path / "g2d-0" / "checkpoints").exists()
