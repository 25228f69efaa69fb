"""A store of bright blobs with masks, and encoders whose pyramid shows them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.encoder import DenseTrainable

SIDE = 32
BLOBS = ("Edema", "Nodule")
STILL = AugmentConfig(rotation=0, translation=0, scale=(1, 1), brightness=0, contrast=0, gamma=0)


class MaskedStore:
    """The documented interface of a store, in memory: an Edema is a bright square, a Nodule a less bright disc, on noise."""

    def __init__(self, count: int = 96, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.name, self.size, self.fingerprint, self.findings = "blobs", SIDE, f"blobs-{count}-{seed}", ["Edema", "Nodule"]
        self.images = generator.integers(0, 60, (count, SIDE, SIDE)).astype(np.uint8)
        self.matrix = (generator.random((count, 2)) < 0.6).astype(np.float32)
        self.found: list[list[tuple[StoredRegion, np.ndarray | None]]] = [[] for _ in range(count)]
        rows, columns = np.indices((SIDE, SIDE))
        for row in range(count):
            for place, name in enumerate(BLOBS):
                y, x, r = (*generator.integers(6, SIDE - 6, 2), generator.integers(3, 6))
                far = np.maximum(abs(rows - y), abs(columns - x)) if place == 0 else np.hypot(rows - y, columns - x)
                if self.matrix[row, place]:
                    self.images[row][far <= r] = (240, 140)[place]
                    box = (float(x - r), float(y - r), float(x + r + 1), float(y + r + 1))
                    self.found[row].append((StoredRegion(name, box, has_mask=True), far <= r))
        half, rest = count // 2, count // 4
        self.columns: dict[str, list[Any]] = {
            "row_id": [f"r{i:03}" for i in range(count)],
            "patient_id": [f"p{i // 2:03}" for i in range(count)],
            "split": ["train"] * half + ["val"] * rest + ["test"] * (count - half - rest),
            "projection": ["PA"] * count,
            "extra": [{"sex": "FM"[i % 2]} for i in range(count)],
        }

    def __len__(self) -> int:
        return len(self.images)

    def column(self, name: str) -> list[Any]:
        return self.columns[name]

    def rows(self, split: str | None = None, with_text: bool | None = None) -> np.ndarray:
        if with_text:
            return np.zeros(0, int)
        return np.flatnonzero(np.array(self.columns["split"]) == split) if split else np.arange(len(self))

    def labels(self, rows: Any, findings: Any) -> np.ndarray:
        return self.matrix[np.asarray(rows, int)][:, [self.findings.index(name) for name in findings]]

    def pixels(self, row: int) -> np.ndarray:
        return self.images[row]

    def regions(self, row: int) -> list[StoredRegion]:
        return [region for region, _ in self.found[row]]

    def mask(self, row: int, region: int) -> np.ndarray | None:
        return self.found[row][region][1]


class Pyramid(nn.Module):
    """Two levels: the image at half and at a quarter of its size, each beside its square and behind a batch norm."""

    channels = 1
    pyramid_channels = (2, 2)

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)

    def pyramid(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        levels = [torch.nn.functional.avg_pool2d(images, step) for step in (2, 4)]
        levels = [self.norm(torch.cat([level, level**2], dim=1)) for level in levels]
        return levels[-1], levels


class BlobEncoder:
    """Gives copies of a pyramid away, and of a decoder where it has one."""

    name, fingerprint = "blob", "encoder-blob"
    findings: tuple[str, ...] = ()

    def __init__(self, decoder: nn.Module | None = None, augment: AugmentConfig = STILL) -> None:
        self.pyramid, self.decoder, self.augment = Pyramid(), decoder, augment

    def dense_trainable(self) -> DenseTrainable:
        parts: Any = copy.deepcopy((self.pyramid, self.decoder))
        return DenseTrainable(*parts, ImageTransform(self.augment, SIDE))
