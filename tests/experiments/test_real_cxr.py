"""The experiment on real radiographs, on made-up ones: every number of its table comes out of every arm."""

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
from lingula.models.text_config import LanguageModelConfig
from lingula.training.language_model import pretrain_language_model

SHORT = {
    "image_encoder": {"name": "test_resnet", "weights": "none"},
    "data": {"image_size": 32},
    "optimisation": {"steps": 2, "batch_size": 8},
}


@pytest.fixture(scope="module")
def experiment(load_experiment: Callable[[str], Any]) -> Any:
    return load_experiment("real_cxr")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores of 96 noise images, half of them NIH images without text, and a tiny language model."""
    folder, rng, rows = tmp_path_factory.mktemp("real"), np.random.default_rng(0), []
    for number in range(96):
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"{number}.png")
        nih, finding = number % 2 == 0, "Pneumonia" if number % 4 < 2 else "No Finding"
        row = {"image": f"{number}.png", "labels": finding, "patient_id": f"p{number}", "source": "NIH" if nih else "other"}
        row["text"] = "" if nih else f"Case {number} with {finding.lower()}. The heart is normal."
        row["split"] = ("train", "val", "test")[number // 2 % 3]
        row["figure"] = "CT" if number % 4 == 3 else "chest radiograph"
        rows.append(row)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    columns = CsvConfig(extra_columns=("source", "figure"), label_group_column="none")
    for name in ("cxr", "real"):
        prepare(CsvSource(folder / "table.csv", folder, columns), folder / "stores" / name, PrepareConfig(size=32), workers=1)
    (folder / "reports.txt").write_text("\n".join(row["text"] for row in rows if row["text"]))
    tiny = LanguageModelConfig(vocabulary=90, width=16, word_steps=2, sentence_pairs=4)
    pretrain_language_model(tiny, folder / "runs/language-model", files=[folder / "reports.txt"], progress=False)
    return folder


@pytest.mark.parametrize("arm", ["clip, from scratch", "m-flag, ImageNet"])
def test_every_number_of_the_table_comes_out(experiment: Any, root: Path, arm: str) -> None:
    numbers = experiment.work(sys.modules["cells"].Cell(arm, 0), root, root / "runs", SHORT)
    found = {number.quantity: number for number in numbers}
    galleries = experiment.FIGURES if arm.endswith("ImageNet") else experiment.ALL
    ways = [f"{m} {way}, {g}" for g in galleries for m in ("recall@1", "recall@10") for way in ("text to image", "image to text")]
    chances = [f"chance of {m}, {g}" for g in galleries for m in ("recall@1", "recall@10")]
    assert set(found) == {experiment.PROBE, experiment.GAIN, experiment.ZERO_SHOT, *ways, *chances}
    assert found["chance of recall@1, all"].value == pytest.approx(1 / 16)
    assert found[experiment.PROBE].low <= found[experiment.PROBE].value <= found[experiment.PROBE].high
    assert found[experiment.GAIN].low <= found[experiment.GAIN].value <= found[experiment.GAIN].high
    assert not list((root / "runs").glob("*/checkpoints"))
