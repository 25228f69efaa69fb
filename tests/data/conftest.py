"""Tiny tables of images for the tests of sources and stores."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

MakeTable = Callable[..., Path]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_image(path: Path, seed: int = 0, shape: tuple[int, int] = (40, 30)) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def make_table(tmp_path: Path) -> MakeTable:
    """Return a function that writes a table and one distinct PNG per row whose image is not there yet."""

    def make(rows: list[dict[str, Any]], name: str = "data/table.csv", column: str = "image", images: bool = True) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(rows):
            file = path.parent / str(row.get(column, ""))
            if images and row.get(column) and not file.exists():
                write_image(file, number)
        return write_rows(path, rows)

    return make


@pytest.fixture
def twelve(make_table: MakeTable) -> Path:
    """Twelve images of six patients, half of them with text, two findings."""
    labels = ["Effusion", "Effusion;Nodule", "", "Nodule"]
    rows = [
        {
            "image": f"images/{number:02d}.png",
            "patient_id": f"p{number // 2}",
            "text": f"Report {number}. No effusion." if number % 2 else "",
            "labels": labels[number % 4],
            "split": ("train", "valid", "test")[number // 2 % 3],
            "view": ("PA", "AP Supine", "LATERAL", "")[number % 4],
            "sex": "F" if number % 3 else "M",
            "age": f"{40 + number}.0",
            "licence": "CC0 1.0",
        }
        for number in range(12)
    ]
    return make_table(rows)
