"""Reports that are no reports, from the table to a trained model: none is lost, none stops the work."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lingula.cli import main
from lingula.data.store import Store
from lingula.training.run import Run

LONG = " ".join(f"Nodule number {number} is stable." for number in range(2_000))
HOSTILE = {
    "empty": "",
    "blank": " \t ",
    "control characters alone": "\x01\x07\x1b\u200b",
    "stops alone": "...",
    "10,000 words": LONG,
    "one endless word": "a" * 20_000,
    "control characters inside": "There\x07 is an eff\u200busion.\x1b\u202e",
    "line breaks of HL7": "FINDINGS: Clear.\\.br\\IMPRESSION: Normal.",
    "emoji and other letters": "Эффузия 胸水 🫁 é.",
    "a heading alone": "FINDINGS:",
}
WITHOUT_TEXT = {"empty", "blank", "control characters alone", "stops alone", "a heading alone"}
SMALL = """
image_encoder: {name: test_resnet}
data: {image_size: 32}
text_encoder: {small: {vocabulary: 300, width: 16, steps: 2}}
optimisation: {steps: 2, batch_size: 8}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The hostile reports, and six ordinary ones."""
    assert len(LONG.split()) == 10_000
    texts = [*HOSTILE.values(), *(f"No effusion. Heart size {number}." for number in range(6))]
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "report", "split"])
        for number, text in enumerate(texts):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 30), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.png")
            writer.writerow([f"{number}.png", text, "train"])
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "table.csv"


def test_hostile_reports_are_prepared_and_trained_on(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, store = table.parent, str(table.parent / "store")
    main(["data", "prepare", "csv", "--table", str(table), "--store", store, "--size", "32", "--workers", "1"])
    main(["data", "label", store, "--out", str(folder / "labels.csv")])
    opened = Store.open(store)
    texts = dict(zip(opened.column("path"), (opened.text(row) for row in range(len(opened))), strict=True))
    by_name = {name: texts[f"{number}.png"] for number, name in enumerate(HOSTILE)}
    assert len(opened) == len(HOSTILE) + 6
    assert opened.quarantine.num_rows == 0
    assert {name for name, text in by_name.items() if not any(map(str.isalnum, text))} == WITHOUT_TEXT
    assert by_name["10,000 words"].split() == LONG.split()
    assert by_name["control characters inside"] == "There is an effusion."
    assert by_name["line breaks of HL7"] == "Clear.\n\nNormal."
    main(["pretrain", "clip", "--store", store, "--config", str(folder / "small.yaml"), "--run", str(folder / "run")])
    pairs = len(HOSTILE) - len(WITHOUT_TEXT) + 6
    assert f"{pairs} training pairs" in Run(folder / "run").environment["samples"]["summary"]
    assert len((folder / "labels.csv").read_text().splitlines()) >= pairs
