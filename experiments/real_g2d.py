"""What G2D's pre-training on 246 real image-text pairs does to lung masks and boxes: before against after, three seeds.

    .venv/bin/python experiments/real_g2d.py               runs what docs/results/real-g2d.csv does not have yet
    .venv/bin/python experiments/real_g2d.py --summary     prints the table

The store `stores/cxr` is made by the command of docs/results/real-cxr.md. An interrupted queue goes on where it stopped; the
overlays of a finished cell lie in runs/real-g2d/ARM-SEED/evaluation.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, Number, arguments, read, run_queue, summary

ROOT = Path(__file__).resolve().parents[1]
RESULTS, STORE, RUNS = ROOT / "docs/results/real-g2d.csv", ROOT / "stores/cxr", ROOT / "runs/real-g2d"
BLOCKS = (32, 16, 8, 8, 8)
SHARED: dict[str, Any] = {
    "image_encoder": {"name": "test_resnet", "pooling": "mean-max", "output_stride": 8},
    "data": {"image_size": 96},
    "optimisation": {"batch_size": 64, "steps": 200, "learning_rate": 2e-3},
}
DENSE = {"decoder_channels": BLOCKS, "dense_warmup": 0.3, "dense_rise": 0.2}
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "g2d": ("g2d", {"method": DENSE}),
    "clip": ("clip", {"method": {"head": "batch-norm-mlp"}}),
}
"""Arm to method and its own settings; the encoder before pre-training is scored beside each."""
SHORT = {"steps": 200, "every": 50, "rate": 2e-3, "batch": 16}
TASKS: dict[str, dict[str, Any]] = {
    "lung masks": {"task": ("segment",), "label": ("lungs",)},
    "lung boxes": {"task": ("detect",), "label": ("right lung", "left lung")},
    "pathology boxes": {"task": ("detect",), "label": ("ground glass opacities", "consolidation", "pneumonia")},
}
"""What is looked for, and how; both tasks at 10 and 100 % of the patients."""
EVALUATION: dict[str, Any] = {
    "fraction": (0.1, 1.0),
    "draws": 1,
    "scorer": ("strict",),
    "segment": {**SHORT, "channels": BLOCKS},
    "detect": SHORT,
}
KEPT = ("Dice", "IoU", "mAP (strict)", "AP50 (strict)")
STATES = ("before", "after", "after − before")


def work(cell: Cell, store: Path, runs: Path, changes: dict[str, Any], tasks: dict[str, Any]) -> list[Number]:
    """Train one arm with one seed and score it before and after; `changes` and `tasks` go over the settings."""
    import torch

    from lingula.core.config import merged
    from lingula.training.pretrain import pretrain
    from lingula.training.recipes import recipe

    torch.set_num_threads(1)
    method, own = ARMS[cell.arm]
    placed = {"data": {"store": str(store)}, "runtime": {"seed": cell.seed}}
    run = runs / f"{cell.arm}-{cell.seed}"
    pretrain(recipe(method, "sound", changes, merged(SHARED, own, placed)), run, overwrite=True)
    numbers = evaluated(run, store, merged(EVALUATION, tasks))
    shutil.rmtree(run / "checkpoints")
    return numbers


def evaluated(run: Path, store: Path, values: dict[str, Any]) -> list[Number]:
    """Score masks and boxes before and after pre-training; of masks also the paired difference."""
    from lingula.core.files import read_json
    from lingula.data.store import Store
    from lingula.evaluation.config import EvaluateConfig
    from lingula.evaluation.evaluate import DIFFERENCE, START, evaluate
    from lingula.evaluation.result import ResultRow, TaskResult
    from lingula.inference import Model

    model, start, opened = Model.load(run), Model.load(run, "initial"), Store.open(store)
    numbers: list[Number] = []
    for name, chosen in TASKS.items():
        folder, task = run / "evaluation" / name.replace(" ", "-"), chosen["task"][0]
        config = EvaluateConfig(store=store, **{**values, **chosen})
        after = evaluate(model, opened, config, folder, start, samples=False)[task]
        before = TaskResult.load(folder / START / task)
        difference = [ResultRow.from_values(row, DIFFERENCE) for row in read_json(folder / task / DIFFERENCE)]
        for state, rows in zip(STATES, (before.rows, after.rows, difference), strict=True):
            numbers += [_number(name, state, row) for row in rows if _is_kept(row)]
    return numbers


def _is_kept(row: Any) -> bool:
    """Whether a row is a mean over findings and of all images."""
    return row.metric in KEPT and row.label in ("", "macro") and row.subgroup == "all"


def _number(name: str, state: str, row: Any) -> Number:
    quantity = " · ".join(part for part in (name, row.metric, row.setting, state) if part)
    return Number(quantity, row.value, row.low, row.high)


def show() -> None:
    """Print one table per task, with one row per arm."""
    quantities = list(dict.fromkeys(number.quantity for numbers in read(RESULTS).values() for number in numbers))
    for name in TASKS:
        print(f"\n{name}\n\n{summary(RESULTS, [each for each in quantities if each.startswith(name)])}")


def main() -> None:
    """Run the queue, or print what it has found."""
    given = arguments(__doc__, ARMS).parse_args()
    if not given.summary:
        cells = [Cell(arm, seed) for seed in given.seeds for arm in given.only]
        job = partial(work, store=STORE, runs=RUNS, changes={}, tasks={})
        run_queue(cells, job, RESULTS, given.workers, given.minutes)
    show()


if __name__ == "__main__":
    main()
