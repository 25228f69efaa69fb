"""A made-up world of bright squares and rectangles with their boxes, and a tiny random encoder that looks at it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.encoder import DenseTrainable
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder

SIZE = 64
SQUARE, BAR = "Lung Nodule", "Consolidation"


class SquaresStore:
    """The documented interface of a store, in memory: noise, squares and bars on it, and nothing in every fourth image."""

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
        side = int(rng.integers(14, 22)) * self.size // SIZE
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


class SquaresEncoder:
    """A small random network that gives itself away; images are seen as they are stored, moved a little in training."""

    name, fingerprint = "tiny", "tiny"

    def __init__(self, network: str = "test_resnet", size: int = SIZE, **augment: Any) -> None:
        self.findings: list[str] = []
        plain = {"rotation": 0, "brightness": 0, "contrast": 0, "gamma": 0}
        self.transform = ImageTransform(AugmentConfig(**(plain | augment)), size)
        store = SquaresStore(32, seed=1, size=size)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            self.encoder = RadiographEncoder(ImageEncoderConfig(name=network))
            for _ in range(30):  # batch norm learns its statistics, nothing else learns
                self.encoder(self.transform.evaluate(store.images))
        self.encoder.eval()

    def dense_trainable(self) -> DenseTrainable:
        return DenseTrainable(copy.deepcopy(self.encoder), None, self.transform)
