"""A store and a method without files or timm, for tests of the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lingula.core.batch import Batch
from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.data.loader import BatchBuilder, TextPlan, TrainingLoader
from lingula.data.samples import BatchOrder
from lingula.methods.base import Embeddings, Losses, Method
from lingula.training.config import OptimisationConfig, RuntimeConfig
from lingula.training.loop import Trainer

SIDE = 16


class FakeStore:
    """Images of noise; every study has one image and a report."""

    def __init__(self, studies: int = 40) -> None:
        self.size, self.findings, self.fingerprint, self.name = SIDE, ["A", "B"], "f", "fake"
        self._pixels = np.random.default_rng(0).integers(0, 256, (studies, SIDE, SIDE), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._pixels)

    def column(self, name: str) -> list[str]:
        return [f"{name}-{row}" for row in range(len(self))]

    def pixels(self, row: int) -> np.ndarray:
        return self._pixels[row]

    def text(self, row: int, sections: Sequence[str] | None = None) -> str:
        return f"Report of study {row}. No effusion. Heart size {row % 7}."


def features_of(texts: list[str]) -> Tensor:
    """Eight numbers per text that depend on the text alone."""
    rows = [torch.randn(8, generator=torch.Generator().manual_seed(sum(map(ord, text)) + len(text))) for text in texts]
    return torch.stack(rows)


class TinyMethod(Method):
    """Two towers with dropout and batch norm, a temperature, a contrastive loss."""

    def __init__(self, bad_step: int | None = None) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            nn.Conv2d(1, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.image_head, self.text_head = nn.Linear(24, 5), nn.Linear(8, 5)
        self.log_temperature = nn.Parameter(torch.tensor(-1.0))
        self.bad_step, self.calls = bad_step, 0

    def encode(self, batch: Batch) -> Embeddings:
        assert batch.images is not None
        return Embeddings(self.tower(batch.images), batch.text_features)

    def towers(self) -> list[nn.Module]:
        return [self.tower]

    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        self.calls += 1
        image = functional.normalize(self.image_head(embeddings.image))
        text = functional.normalize(self.text_head(embeddings.text))
        loss = functional.cross_entropy(image @ text.T / self.log_temperature.exp(), torch.arange(len(image)))
        if self.calls == self.bad_step:
            loss = loss * float("nan")
        return Losses({"contrastive": loss}, logged={"temperature": self.log_temperature.exp().detach()})

    def features_and_latents(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.tower(images)
        return features, functional.normalize(self.image_head(features))

    def image_features(self, images: Tensor) -> Tensor:
        return self.tower(images)

    def dense_features(self, images: Tensor) -> Tensor:
        return self.tower[:2](images)


@pytest.fixture
def make_method() -> Callable[..., TinyMethod]:
    def make(seed: int = 0, **options: Any) -> TinyMethod:
        torch.manual_seed(seed)
        return TinyMethod(**options)

    return make


@pytest.fixture
def make_loader() -> Callable[..., TrainingLoader]:
    def make(workers: int = 0, batch_size: int = 8, studies: int = 40) -> TrainingLoader:
        store: Any = FakeStore(studies)
        transform = ImageTransform(AugmentConfig(erasing=0.5), SIDE)
        build = BatchBuilder(store, transform, seed=3, text=TextPlan("mixed", lookup=features_of))
        return TrainingLoader(build, BatchOrder(np.arange(studies), batch_size, seed=3), workers=workers)

    return make


@pytest.fixture
def make_trainer(make_method: Callable[..., Any], make_loader: Callable[..., Any]) -> Callable[..., Trainer]:
    """Make a trainer of the tiny method; `optimisation` and `runtime` are changes of the settings below."""

    def make(folder: Path, steps: int = 12, workers: int = 0, **options: Any) -> Trainer:
        optimisation = {"learning_rate": 1e-2, "warmup": 2, "batch_size": 8} | options.pop("optimisation", {})
        runtime = {"seed": 3, "log_every": 2, "validate_every": 4, "checkpoint_every": 6} | options.pop("runtime", {})
        method, loader = options.pop("method", None) or make_method(), options.pop("loader", None) or make_loader(workers)
        folder.mkdir(exist_ok=True)
        configs = OptimisationConfig.model_validate(optimisation), RuntimeConfig.model_validate(runtime)
        return Trainer(method, loader, steps, *configs, folder, torch.device("cpu"), **options)

    return make


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder
