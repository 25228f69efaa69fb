"""The demo: CLIP, M-FLAG and a supervised ceiling on synthetic patients, equal budget, one table and one page."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from lingula.core.errors import UserError
from lingula.core.files import write_json
from lingula.data.phantom.source import PhantomSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.store import Store
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.evaluate import evaluate
from lingula.evaluation.report_page import write_report
from lingula.evaluation.run_view import RunView
from lingula.evaluation.tables import print_tables
from lingula.inference import COMPARISON, Model
from lingula.training.pretrain import pretrain
from lingula.training.recipes import recipe

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
    begun = time.monotonic()
    _claim(folder, overwrite)
    source = PhantomSource(STUDIES["train"], STUDIES["val"], STUDIES["test"], size=SIZE)
    prepare(source, store, PrepareConfig(size=SIZE), workers=os.cpu_count() or 1)
    for method in METHODS:
        pretrain(_config(method, store, seed), folder / method)
        _evaluate(folder / method, store)
    write_json(folder / COMPARISON, {"runs": list(METHODS), "default": "clip"})
    views = [RunView.open(folder / method) for method in METHODS]
    print_tables(views)
    write_report(views, folder / "report.html")
    print(f"Page: {folder / 'report.html'}   ({time.monotonic() - begun:.0f} s)")
    print(f'Next: lingula predict {folder} IMAGE --prompt "pleural effusion" "no pleural effusion"')


def _claim(folder: Path, overwrite: bool) -> None:
    """Make sure that only an earlier demo is replaced, and only when asked."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    ours = {*METHODS, COMPARISON, "report.html"}
    strangers = [path.name for path in folder.iterdir() if path.name not in ours]
    if strangers:
        raise UserError(f"{folder} holds {strangers[0]}, which no demo wrote", "Choose another --folder.")
    if not overwrite:
        raise UserError(f"{folder} holds an earlier demo", "Replace it with --overwrite, or choose another --folder.")
    shutil.rmtree(folder)


def _config(method: str, store: Path, seed: int) -> Any:
    """A method's `sound` preset with the shared budget."""
    shared = {**BUDGET, "data": {**BUDGET["data"], "store": str(store)}, "runtime": {**BUDGET["runtime"], "seed": seed}}
    return recipe(method, "sound", OWN[method], shared)


def _evaluate(run: Path, store: Path) -> None:
    tasks = ("supervised", "probe") if run.name == "supervised" else ("zero-shot", "probe", "retrieve")
    print(f"evaluating {run.name} on unseen patients", file=sys.stderr)
    config = EvaluateConfig(store=store, task=tasks, distinct_reports=True, text_view="affirmed")
    evaluate(Model.load(run), Store.open(store), config, run / "evaluation")
