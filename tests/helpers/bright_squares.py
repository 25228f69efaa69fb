"""A made-up world of bright squares and rectangles with their boxes, and an encoder whose pyramid shows them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.encoder import DenseTrainable

SIZE = 32
STRIDE = 4
SQUARE, BAR = "Lung Nodule", "Consolidation"


class SquaresStore:
    """The documented interface of a store, in memory: noise, squares and bars on it, and nothing in every second image."""

    def __init__(self, count: int = 96, seed: int = 0, size: int = SIZE) -> None:
        rng = np.random.default_rng(seed)
        self.name, self.size, self.fingerprint = "squares", size, f"store-squares-{count}-{seed}"
        self.findings = sorted([SQUARE, BAR])
        self.images = rng.integers(0, 40, (count, size, size), dtype=np.uint8)
        self.boxes: list[list[StoredRegion]] = [[] for _ in range(count)]
        self._labels = np.zeros((count, 2), np.float32)
        for row in range(count):
            for name in [SQUARE, BAR][: row % 4 % 3] if row % 4 else []:
                self._paint(rng, row, name)
        splits = ["train" if row < count // 2 else "val" if row < 3 * count // 4 else "test" for row in range(count)]
        self._columns: dict[str, list[Any]] = {
            "row_id": [f"r{row:03}" for row in range(count)],
            "study_id": [f"s{row:03}" for row in range(count)],
            "patient_id": [f"p{row // 2:03}" for row in range(count)],
            "split": splits,
            "modality": ["radiograph"] * count,
            "projection": ["PA"] * count,
            "licence": [""] * count,
            "extra": [{} for _ in range(count)],
        }
        self.quarantine = pa.table({"study_id": [], "path": [], "reason": []})

    def _paint(self, rng: np.random.Generator, row: int, name: str) -> None:
        side = int(rng.integers(7, 11)) * self.size // SIZE
        height, width = (side, side) if name == SQUARE else (side // 2, 2 * side)
        top, left = (int(rng.integers(0, self.size - length)) for length in (height, width))
        self.images[row, top : top + height, left : left + width] = 230 if name == SQUARE else 150
        box = (float(left), float(top), float(left + width), float(top + height))
        self.boxes[row].append(StoredRegion(finding=name, box=box))
        self._labels[row, self.findings.index(name)] = 1

    def __len__(self) -> int:
        return len(self.images)

    def column(self, name: str) -> list[Any]:
        return self._columns[name]

    def rows(self, split: str | None = None, with_text: bool | None = None, sections: Sequence[str] | None = None) -> np.ndarray:
        if with_text:
            return np.zeros(0, np.int64)
        return np.flatnonzero(np.ones(len(self), bool) if split is None else np.array(self._columns["split"]) == split)

    def pixels(self, row: int) -> np.ndarray:
        return self.images[row]

    def regions(self, row: int) -> list[StoredRegion]:
        return self.boxes[row]

    def labels(self, rows: Sequence[int] | np.ndarray, findings: Sequence[str]) -> np.ndarray:
        return self._labels[np.asarray(rows, int)][:, [self.findings.index(f) for f in findings]]


class Pyramid(nn.Module):
    """Three levels of one size: mean, largest and smallest value of each cell, behind a batch norm."""

    channels = 1
    pyramid_channels = (3, 3, 3)

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        parts = [
            functional.avg_pool2d(images, STRIDE),
            *(sign * functional.max_pool2d(sign * images, STRIDE) for sign in (1, -1)),
        ]
        level = self.norm(torch.cat(parts, dim=1))
        return level, [level] * 3


class SquaresEncoder:
    """Gives copies of a pyramid away; images are seen as they are stored, moved in training where that is asked for."""

    name, fingerprint = "tiny", "tiny"
    findings: tuple[str, ...] = ()

    def __init__(self, network: nn.Module | None = None, size: int = SIZE, **augment: Any) -> None:
        plain = {"rotation": 0, "brightness": 0, "contrast": 0, "gamma": 0}
        self.transform = ImageTransform(AugmentConfig(**(plain | augment)), size)
        self.encoder = network or Pyramid()

    def dense_trainable(self) -> DenseTrainable:
        return DenseTrainable(copy.deepcopy(self.encoder), None, self.transform)
