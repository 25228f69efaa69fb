"""Which of COLIPRI's objectives help, on phantom CT? Phantom numbers; every arm has the steps and the batch of the recipe `tiny`.

    .venv/bin/python experiments/colipri.py                     runs what docs/results/colipri.csv does not have yet
    .venv/bin/python experiments/colipri.py --summary           prints the tables and draws docs/results/colipri.png
    .venv/bin/python experiments/colipri.py --only c crm --seeds 0 --minutes 30

The order is: the objectives with every seed, then what else is varied, seed by seed. An interrupted queue goes on where it
stopped. Volumes without text are those of other patients.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, Number, arguments, in_order, run_queue
from panels import draw
from scores import evaluated, tables

from lingula.core.config import merged

ROOT = Path(__file__).resolve().parents[1]
RESULTS, FIGURE = ROOT / "docs/results/colipri.csv", ROOT / "docs/results/colipri.png"
STORE, MORE, RUNS = ROOT / "stores/ct", ROOT / "stores/ct-more", ROOT / "runs/colipri"
SPACING = 6.0
STUDIES = {"train": 6000, "val": 300, "test": 600}
OTHERS = {"train": 3000, "val": 0, "test": 0}
"""Patients of another seed, whose volumes are learned from without text."""
C: dict[str, Any] = {"method": {"report_weight": 0.0, "masked_weight": 0.0}}
CM: dict[str, Any] = {"method": {"report_weight": 0.0}}
FINE: dict[str, Any] = {"method": {"encoder": {"patch_size": 8}}}
"""216 tokens of 48 mm instead of 27 of 96 mm."""
VARIED: dict[str, Any] = {"data": {"text_view": "varied", "report_augment": {"short_sentence": 0.0}}}

ARMS: dict[str, dict[str, Any]] = {
    "c": C,
    "cr": {"method": {"masked_weight": 0.0}},
    "cm": CM,
    "crm": {},
    "crm, images alone in half of the steps": {"data": {"images_only": str(MORE)}},
    "c, no opposite sentences": merged(C, {"method": {"opposite_weight": 0.0}}),
    "c, shuffled reports": merged(C, VARIED),
    "c, shuffled reports or one statement": merged(C, VARIED, {"data": {"report_augment": {"short_sentence": 0.5}}}),
    "random": C,
    "c, fine patches": merged(C, FINE),
    "cm, fine patches": merged(CM, FINE),
    "random, fine patches": merged(C, FINE),
}
"""Arm to what differs from the recipe `tiny`, which trains on what reports affirm; `random` is scored before training. What is
done to texts is tried without R and M, which it is not about: a step of all four costs two and a half times as much."""
MAIN = ("c", "cr", "cm", "crm", "random")
UNTRAINED = tuple(arm for arm in ARMS if arm.startswith("random"))
OF_TEXTS = ("c, no opposite sentences", "c, shuffled reports", "c, shuffled reports or one statement")
"""These are not segmented with, nor are their tokens probed: what is done to texts is seen in what texts find."""
TASKS: dict[str, Any] = {
    "task": ("zero-shot", "probe", "retrieve", "generate"),
    "prompt_style": ("short", "report"),
    "fraction": (0.1, 1.0),
    "draws": 1,
    "bootstrap": 0,
    "distinct_reports": True,
    "generate": {"pictures": 0, "batch": 50},
}
"""What a few minutes per run allow."""
SEGMENT: dict[str, Any] = {
    "task": ("segment",),
    "fraction": (1.0,),
    "bootstrap": 0,
    "label": ("Cardiomegaly", "Edema", "Emphysema", "Pleural Effusion"),
    "segment": {
        "rate": 1e-2,
        "steps": 200,
        "every": 200,
        "augment": False,
        "pictures": 0,
        "volume": {"head": ("linear",), "batch": 16, "overlap": 0.0, "windows": 8},
    },
}
"""Segmentation of the frequent findings that fill more than half a patch, by one matrix on the frozen tokens: a decoder costs as
much as the training. Of two settings the one with the better Dice on validation (arm c, seed 0)."""
TOKENS: dict[str, Any] = {"task": ("token-probe",), "fraction": (1.0,), "bootstrap": 0}
"""COLIPRI's own probe: 5 poolings and 4 rates, chosen on validation."""


def prepare(store: Path, studies: dict[str, int], seed: int) -> None:
    """Make a store of phantom CT, or take the one that is there."""
    from lingula.data.phantom.ct_source import PhantomCtSource
    from lingula.data.prepare import prepare as prepare_store
    from lingula.data.prepare_config import PrepareVolumesConfig

    source = PhantomCtSource(studies["train"], studies["val"], studies["test"], seed=seed, spacing=SPACING)
    prepare_store(source, store, PrepareVolumesConfig(spacing=SPACING))


def work(
    cell: Cell,
    store: Path,
    runs: Path,
    changes: dict[str, Any],
    tasks: dict[str, Any],
    segment: dict[str, Any],
    tokens: dict[str, Any],
) -> list[Number]:
    """Train one arm with one seed, evaluate it, and return its numbers.

    Scored is the end of the training: the validation loss of reports rises while that of the contrast falls, so that the step of
    the lowest sum would be an earlier one for the arms with reports.

    Args:
        cell: Arm and seed.
        store: Phantom CT.
        runs: Where run folders go.
        changes: Values over the recipe's.
        tasks: Values over `TASKS`.
        segment: Values over `SEGMENT`.
        tokens: Values over `TOKENS`.
    """
    import torch

    from lingula.training.pretrain import pretrain
    from lingula.training.recipes import recipe

    torch.set_num_threads(1)
    trained = cell.arm not in UNTRAINED
    placed = {"data": {"store": str(store)}, "runtime": {"seed": cell.seed}}
    config = recipe("colipri", "tiny", merged(changes, ARMS[cell.arm], placed))
    if not trained:
        config = config.model_copy(update={"optimisation": config.optimisation.model_copy(update={"steps": 1})})
    run = cell.folder(runs)
    busy = time.process_time()
    pretrain(config, run, overwrite=True)
    busy = (time.process_time() - busy) / config.optimisation.steps
    chosen = merged(TASKS, tasks)
    if config.method.report_weight == 0:
        chosen["task"] = tuple(task for task in chosen["task"] if task != "generate")
    checkpoint = "last" if trained else "initial"
    numbers = evaluated(run, store, checkpoint, chosen)
    if cell.arm not in OF_TEXTS:
        numbers += evaluated(run, store, checkpoint, merged(SEGMENT, segment))
        numbers += evaluated(run, store, checkpoint, merged(TOKENS, tokens))
    return [*numbers, *([Number("CPU seconds per step", busy)] if trained else [])]


SHOWN = {
    "zero-shot": ("AUROC",),
    "probe": ("AUROC",),
    "token-probe": ("AUROC", "AUPRC"),
    "retrieve": ("recall@10", "median rank"),
    "segment": ("Dice", "NSD"),
    "generate": ("clinical F1", "BLEU-4", "ROUGE-L"),
    "CPU seconds per step": (),
}
"""Task to the metrics that the tables show; the file has all."""
PANELS = {
    "zero-shot · AUROC": "zero-shot AUROC, short",
    "zero-shot · AUROC · report-style prompts": "zero-shot, report-style",
    "probe · AUROC · 10 %": "probe AUROC, 10 %",
    "probe · AUROC · 100 %": "probe AUROC, 100 %",
    "token-probe · AUPRC · 100 %": "own probe, AUPRC",
    "retrieve · recall@10 · text to image": "recall@10, text to image",
    "segment · Dice · 100 % of labels, frozen encoder, linear decoder": "Dice, linear on tokens",
    "generate · clinical F1 · greedy": "clinical F1 of reports",
}
"""What the figure shows, and how it is called there."""


def show() -> None:
    """Print one table per task, and draw all arms."""
    print(tables(RESULTS, SHOWN, ARMS))
    title = "COLIPRI on phantom CT: phantom numbers, a dot per seed, a bar at their mean"
    draw(RESULTS, FIGURE, {"objectives": {arm: arm for arm in ARMS}}, PANELS, title, "crm")


def main() -> None:
    """Parse the arguments, run the queue, print the tables."""
    chosen = arguments(__doc__, ARMS).parse_args()
    if not chosen.summary:
        prepare(STORE, STUDIES, seed=0)
        prepare(MORE, OTHERS, seed=1)
        job = partial(work, store=STORE, runs=RUNS, changes={}, tasks={}, segment={}, tokens={})
        run_queue(in_order(MAIN, chosen.only, chosen.seeds), job, RESULTS, chosen.workers, chosen.minutes)
    show()


if __name__ == "__main__":
    main()
