"""The tour: CLIP, M-FLAG and G2D on synthetic patients, equal budget, every task, overlays, one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lingula.demo import OWN as DEMO
from lingula.showcase import Showcase

SIZE = 96
STUDIES = {"train": 4000, "val": 300, "test": 1000}
BLOCKS = (32, 16, 8, 8, 8)
"""Channels of the decoder's blocks: the encoder is small, too."""
BUDGET: dict[str, Any] = {
    "image_encoder": {"name": "test_resnet", "pooling": "mean-max", "output_stride": 8},
    "data": {"image_size": 64, "text_view": "affirmed"},
    "augment": {"rotation": 4.0},
    "optimisation": {"steps": 310, "batch_size": 128, "learning_rate": 1e-2, "warmup": 0.15, "betas": (0.9, 0.95)},
    "runtime": {"log_every": 10, "validate_every": 155, "checkpoint_every": 10_000},
}
"""What all share: encoder with a feature grid of 8 x 8 cells, image size, steps, batch."""
OWN: dict[str, dict[str, Any]] = {
    "g2d": {
        "method": {
            "text_head": "none",
            "hidden": 256,
            "temperature": 0.2,
            "minimum_temperature": 0.1,
            "decoder_channels": BLOCKS,
            "dense_warmup": 0.3,
            "dense_rise": 0.2,
        },
    },
    "clip": DEMO["clip"],
    "m-flag": DEMO["m-flag"],
}
"""What each has of its own, beside its `sound` preset."""
FRACTIONS = (0.1, 1.0)
TASKS: dict[str, Any] = {
    "task": ("zero-shot", "probe", "retrieve", "geometry", "segment", "detect", "ground"),
    "distinct_reports": True,
    "text_view": "affirmed",
    "fraction": FRACTIONS,
    "draws": 1,
    "detect": {"steps": 200, "every": 50, "rate": 2e-3, "batch": 16},
    "segment": {"channels": BLOCKS, "steps": 200, "every": 50, "rate": 2e-3},
}
"""Every task, in a size that fits a processor."""


def run_tour(folder: Path, store: Path, seed: int = 0, overwrite: bool = False) -> None:
    """Phantom -> store -> three runs -> every task -> table in the terminal and report.html with overlays.

    Args:
        folder: Where the runs and the page go; it can be given to `lingula.load`, which takes its G2D run.
        store: Where the phantom's store goes; a finished one is used again.
        seed: Seed of the training; the patients stay the same.
        overwrite: Replace an earlier tour.

    Raises:
        UserError: The folder holds something else, or an earlier tour that may not be replaced.
    """
    Showcase("tour", STUDIES, SIZE, BUDGET, OWN, dict.fromkeys(OWN, TASKS)).run(folder, store, seed, overwrite)
    print(f'Next: lingula show {folder}/g2d --store {store} --row 4500 --phrase "right pleural effusion"')
