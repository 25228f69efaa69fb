"""Do G2D's claims hold on the phantom, and what carries them? Phantom numbers; all arms share their budget, the tour's.

    .venv/bin/python experiments/g2d.py                     runs what docs/results/g2d.csv does not have yet
    .venv/bin/python experiments/g2d.py --summary           prints the tables and draws docs/results/g2d.png
    .venv/bin/python experiments/g2d.py --only g2d clip --seeds 0 --minutes 30

The order is: the methods against each other with every seed, then the ablations of the paper's Tables 5 and 8, seed by seed. An
interrupted queue goes on where it stopped.
"""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, Number, arguments, in_order, prepare_phantom, read, run_queue
from panels import draw
from scores import evaluated, tables

from lingula import tour
from lingula.core.config import merged

ROOT = Path(__file__).resolve().parents[1]
RESULTS, FIGURE = ROOT / "docs/results/g2d.csv", ROOT / "docs/results/g2d.png"
STORE, RUNS = ROOT / "stores/g2d", ROOT / "runs/g2d"
FRACTIONS = (0.01, 0.1, 1.0)


def g2d(**changes: Any) -> tuple[str, dict[str, Any]]:
    """The arm of G2D with some settings of the method changed."""
    return "g2d", {"method": changes} if changes else {}


ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "g2d": g2d(),
    "clip": ("clip", {}),
    "m-flag": ("m-flag", {}),
    "random": ("clip", {}),
    "g2d, no dense term": g2d(dense="none"),
    "g2d, masks shuffled between images": g2d(dense="shuffled-mask"),
    "g2d, reconstruction": g2d(dense="reconstruction"),
    "g2d, quantile 0.75": g2d(mask={"quantile": 0.75}),
    "g2d, median": g2d(mask={"threshold": "median"}),
    "g2d, two Gaussians": g2d(mask={"threshold": "gmm"}),
    "g2d, no body mask": g2d(mask={"domain": "image"}),
    "g2d, smoothed masks": g2d(mask={"smooth": "bilateral"}),
    "g2d, 1 head": g2d(heads=1),
    "g2d, 2 heads": g2d(heads=2),
    "g2d, 3 heads": g2d(heads=3),
    "g2d, a mask per head": g2d(mask={"per_head": True}),
}
"""Arm to method and what differs from the tour's settings; `random` is scored before training."""
MAIN = ("g2d", "clip", "m-flag", "random")
UNTRAINED = ("random",)
BUDGET: dict[str, Any] = merged(tour.BUDGET, {"runtime": {"precision": "fp32"}})
"""The tour's settings, in the number format that every processor is fast in."""
TASKS: dict[str, Any] = {
    "task": ("zero-shot", "probe", "ground", "segment", "detect"),
    "fraction": FRACTIONS,
    "bootstrap": 0,
    "scorer": ("strict",),
    "segment": {"steps": 300, "every": 100, "pictures": 0},
    "detect": {"steps": 100, "every": 50},
}
ABLATED = (0.01,)
"""Fraction of the ablations: those of the paper are all at 1 %."""


def work(cell: Cell, store: Path, runs: Path, budget: dict[str, Any], tasks: dict[str, Any]) -> list[Number]:
    """Train one arm with one seed, evaluate it, and return its numbers."""
    import torch

    from lingula.training.pretrain import pretrain
    from lingula.training.recipes import recipe

    torch.set_num_threads(1)
    method, changes = ARMS[cell.arm]
    placed = {"data": {"store": str(store)}, "runtime": {"seed": cell.seed}}
    config = recipe(method, "sound", changes, merged(budget, tour.OWN[method], placed))
    if cell.arm in UNTRAINED:
        config = config.model_copy(update={"optimisation": config.optimisation.model_copy(update={"steps": 1})})
    run = cell.folder(runs)
    busy = time.process_time()
    pretrain(config, run, overwrite=True)
    busy = (time.process_time() - busy) / config.optimisation.steps
    chosen = merged(tour.TASKS, tasks if cell.arm in MAIN else merged(tasks, {"fraction": ABLATED}))
    numbers = evaluated(run, store, "initial" if cell.arm in UNTRAINED else "best", chosen)
    shutil.rmtree(run / "checkpoints")
    return [*numbers, *([Number("CPU seconds per step", busy)] if cell.arm not in UNTRAINED else [])]


SHOWN = {
    "zero-shot": ("AUROC",),
    "probe": ("AUROC",),
    "ground": ("pointing", "Dice"),
    "segment": ("Dice",),
    "detect": ("mAP (strict)",),
    "CPU seconds per step": (),
}
"""Task to the metrics that the tables show; the file has all."""


_FROZEN = "of labels, frozen encoder, random decoder"
PANELS = {
    "zero-shot · AUROC": "zero-shot AUROC",
    "probe · AUROC · 1 %": "probe AUROC, 1 %",
    "probe · AUROC · 100 %": "probe AUROC, 100 %",
    f"segment · Dice · 1 % {_FROZEN}": "Dice, 1 %",
    f"segment · Dice · 100 % {_FROZEN}": "Dice, 100 %",
    "detect · mAP (strict) · 1 %": "mAP, 1 %",
    "detect · mAP (strict) · 100 %": "mAP, 100 %",
    "ground · pointing · phrase": "pointing at phrases",
}
"""What the figure shows, and how it is called there."""


def show() -> None:
    """Print one table per task, and draw the methods and the ablations."""
    print(tables(RESULTS, SHOWN, ARMS))
    done = {cell.arm for cell in read(RESULTS)}
    groups = {"methods": {arm: arm for arm in MAIN}}
    if done - set(MAIN):
        groups["G2D with"] = {arm: arm.removeprefix("g2d, ") for arm in ARMS if arm not in MAIN} | {"g2d": "(as it is)"}
    draw(RESULTS, FIGURE, groups, PANELS, "G2D on the phantom: phantom numbers, a dot per seed, a bar at their mean", "g2d")


def main() -> None:
    """Parse the arguments, run the queue, print the tables."""
    chosen = arguments(__doc__, ARMS).parse_args()
    if not chosen.summary:
        prepare_phantom(STORE, tour.STUDIES, tour.SIZE)
        job = partial(work, store=STORE, runs=RUNS, budget=BUDGET, tasks=TASKS)
        run_queue(in_order(MAIN, chosen.only, chosen.seeds), job, RESULTS, chosen.workers, chosen.minutes)
    show()


if __name__ == "__main__":
    main()
