"""Images per second of the training loop against a bare loop on the same batch, same model, same process.

The loop reads, augments, looks texts up, checks the loss, clips and logs; the bare loop only goes forward, back and steps.
Run it on an otherwise idle machine: `.venv/bin/python benchmarks/training_loop.py`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lingula.core.batch import Batch
from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.data.loader import BatchBuilder, TextPlan, TrainingLoader
from lingula.data.samples import BatchOrder
from lingula.methods.clip_config import ClipConfig
from lingula.methods.registry import build
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.training.config import OptimisationConfig, RuntimeConfig
from lingula.training.logbook import read_metrics
from lingula.training.loop import Trainer
from lingula.training.optimisation import build_optimiser

SIDE, BATCH, FEATURES = 96, 128, 256


class NoiseStore:
    """Images of noise in memory, each with a report of its own."""

    size = SIDE

    def __init__(self, studies: int) -> None:
        self._pixels = np.random.default_rng(0).integers(0, 256, (studies, SIDE, SIDE), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._pixels)

    def column(self, name: str) -> list[str]:
        """Return made-up names."""
        return [f"{name}-{row}" for row in range(len(self._pixels))]

    def pixels(self, row: int) -> np.ndarray:
        """Return one image."""
        return self._pixels[row]

    def text(self, row: int, sections: Sequence[str] | None = None) -> str:
        """Return one report."""
        return f"Study {row}. There is no effusion. The heart is normal."


def trainer(folder: Path, steps: int, encoder: str, workers: int) -> Trainer:
    """Make a trainer on noise."""
    store: Any = NoiseStore(8 * BATCH)
    table = torch.randn(4096, FEATURES)
    text = TextPlan("mixed", lookup=lambda texts: table[[hash(text) % 4096 for text in texts]])
    builder = BatchBuilder(store, ImageTransform(AugmentConfig(), SIDE), 0, text)
    loader = TrainingLoader(builder, BatchOrder(np.arange(8 * BATCH), BATCH, 0), workers=workers)
    method = build(ClipConfig(), ImageEncoderConfig(name=encoder), text_dimension=FEATURES)
    runtime = RuntimeConfig(log_every=steps // 2)
    return Trainer(method, loader, steps, OptimisationConfig(), runtime, folder, torch.device("cpu"))


def bare(ready: Trainer, steps: int) -> float:
    """Return images per second without loader, log or checks."""
    batch: Batch = ready._on_device(ready.loader.batch(0).batch)
    optimiser = build_optimiser(ready.method, OptimisationConfig())
    begun = 0.0
    for step in range(steps + 3):
        if step == 3:
            begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = ready.method.losses(ready.method.encode(batch), batch.without_pixels()).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return steps * BATCH / (time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--encoder", default="mobilenetv4_conv_small_050")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    print(f"{arguments.encoder}, {SIDE} px, batch {BATCH}, bf16, {torch.get_num_threads()} threads")
    print(f"{'':<22}{'images/s':>10}{'ratio':>8}{'waiting':>9}")
    for workers in arguments.workers:
        with tempfile.TemporaryDirectory() as folder:
            ready = trainer(Path(folder), arguments.steps, arguments.encoder, workers)
            before = bare(ready, arguments.steps // 2)
            ready.run()
            entry = [entry for entry in read_metrics(Path(folder)) if "loss" in entry][-1]
            reference = (before + bare(ready, arguments.steps // 2)) / 2
        print(f"{'bare loop':<22}{reference:>10.0f}{1:>8.2f}")
        speed = entry["images_per_second"]
        print(f"{f'loop, {workers} workers':<22}{speed:>10.0f}{speed / reference:>8.2f}{entry['loader_wait']:>9.1%}")


if __name__ == "__main__":
    main()
