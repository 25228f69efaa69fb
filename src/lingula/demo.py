"""The demo: CLIP, M-FLAG and a supervised ceiling on synthetic patients, equal budget, one table and one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lingula.showcase import Showcase

SIZE = 96
STUDIES = {"train": 4000, "val": 300, "test": 1000}
SEEN = 64
"""Side of the images that the encoders see: twice as many of them per second as at 96 pixels."""
BUDGET: dict[str, Any] = {
    "image_encoder": {"name": "test_resnet", "pooling": "mean-max"},
    "data": {"image_size": SEEN, "text_view": "affirmed"},
    "augment": {"rotation": 4.0},
    "optimisation": {"steps": 620, "batch_size": 128, "learning_rate": 1e-2, "warmup": 0.15, "betas": (0.9, 0.95)},
    "runtime": {"log_every": 25, "validate_every": 310, "checkpoint_every": 10_000},
}
"""What all three share: encoder, image size, optimiser, steps, batch."""

OWN: dict[str, dict[str, Any]] = {
    "clip": {"method": {"head": "batch-norm-linear", "text_head": "none", "temperature": 0.2, "minimum_temperature": 0.1}},
    "m-flag": {},
    "supervised": {},
}
"""What each has of its own, beside its `sound` preset."""

METHODS = tuple(OWN)
WHOLE: dict[str, Any] = {"distinct_reports": True, "text_view": "affirmed"}
"""How texts are compared with whole images."""


def run_demo(folder: Path, store: Path, seed: int = 0, overwrite: bool = False) -> None:
    """Phantom -> store -> three runs -> zero-shot, probe, retrieval -> table in the terminal and report.html.

    Args:
        folder: Where the runs and the page go; it can be given to `lingula.load`, which takes its CLIP run.
        store: Where the phantom's store goes; a finished one is used again.
        seed: Seed of the training; the patients stay the same.
        overwrite: Replace an earlier demo.

    Raises:
        UserError: The folder holds something else, or an earlier demo that may not be replaced.
    """
    tasks = {name: WHOLE | {"task": ("zero-shot", "probe", "retrieve")} for name in OWN}
    tasks["supervised"] = WHOLE | {"task": ("supervised", "probe")}
    Showcase("demo", STUDIES, SIZE, BUDGET, OWN, tasks).run(folder, store, seed, overwrite)
    print(f'Next: lingula predict {folder} IMAGE --prompt "pleural effusion" "no pleural effusion"')
