"""What a few hundred real image-text pairs can show: CLIP and M-FLAG from scratch and from ImageNet weights, three seeds.

    .venv/bin/python experiments/real_cxr.py               runs what docs/results/real-cxr.csv does not have yet
    .venv/bin/python experiments/real_cxr.py --summary     prints the table
    .venv/bin/python experiments/real_cxr.py --only "clip, ImageNet" --seeds 0

The stores `stores/cxr` and `stores/real` and the language model `runs/language-model` are made by the commands of
docs/results/real-cxr.md. A cell takes three to ten minutes of one core; an interrupted queue goes on where it stopped.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, Number, arguments, run_queue, summary

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results/real-cxr.csv"
NIH = ("source=NIH*",)
"""Images that no pre-training has text of; the probe is fitted on them in five folds by patient."""

SCRATCH: dict[str, Any] = {
    "image_encoder": {"name": "test_resnet"},
    "data": {"store": "stores/cxr", "image_size": 128},
    "optimisation": {"batch_size": 64, "steps": 200, "learning_rate": 2e-3},
}
IMAGENET: dict[str, Any] = {
    "image_encoder": {"name": "efficientnet_lite0", "weights": "imagenet", "channels": 3},
    "text_encoder": {"name": "runs/language-model"},
    "data": {"store": "stores/real", "image_size": 160, "text_view": "report"},
    "optimisation": {"batch_size": 64, "steps": 120, "learning_rate": 5e-4},
}
HEAD = {"method": {"head": "batch-norm-mlp"}}
ARMS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "clip, from scratch": ("clip", SCRATCH, HEAD),
    "m-flag, from scratch": ("m-flag", SCRATCH, {}),
    "clip, ImageNet": ("clip", IMAGENET, HEAD),
    "m-flag, ImageNet": ("m-flag", IMAGENET, {}),
}
"""Arm to method, settings that both methods share, and the method's own."""
PROBE, GAIN, ZERO_SHOT = "probe AUROC", "probe AUROC − start", "zero-shot AUROC"
ALL: dict[str, tuple[str, ...]] = {"all": ()}
FIGURES = {**ALL, "chest radiographs": ("figure=chest radiograph",), "CT figures": ("figure=CT",)}
"""Gallery to the filter that makes it; only the store with captioned figures has more than one."""


def work(cell: Cell, root: Path, runs: Path, changes: dict[str, Any]) -> list[Number]:
    """Train one arm with one seed, evaluate it, and return its numbers; `changes` go over the settings (shorter, smaller)."""
    import torch

    from lingula.training.pretrain import pretrain
    from lingula.training.recipes import recipe

    torch.set_num_threads(1)
    method, shared, own = ARMS[cell.arm]
    shared = {**shared, "data": {**shared["data"], "store": str(root / shared["data"]["store"])}}
    shared["runtime"] = {"seed": cell.seed}
    if "text_encoder" in shared:
        shared["text_encoder"] = {"name": str(root / shared["text_encoder"]["name"])}
    config = recipe(method, "sound", changes, {**shared, **own})
    run = runs / f"{cell.arm.replace(', ', '-').replace(' ', '-')}-{cell.seed}"
    pretrain(config, run, overwrite=True)
    numbers = evaluated(run, Path(shared["data"]["store"]), FIGURES if "text_encoder" in shared else ALL)
    shutil.rmtree(run / "checkpoints")
    return numbers


def evaluated(run: Path, store: Path, galleries: dict[str, tuple[str, ...]]) -> list[Number]:
    """Probe with its gain over the weights the run started from, zero-shot, and retrieval in each gallery."""
    from lingula.data.store import Store
    from lingula.evaluation.config import EvaluateConfig
    from lingula.evaluation.evaluate import DIFFERENCE, evaluate
    from lingula.evaluation.result import ResultRow
    from lingula.inference import Model

    asked = EvaluateConfig(store=store, label=("Pneumonia",), against="No Finding")
    probe = asked.model_copy(update={"task": ("probe",), "where": NIH, "folds": 5, "fraction": (1.0,)})
    model, opened, folder = Model.load(run), Store.open(store), run / "evaluation"
    found = evaluate(model, opened, probe, folder, Model.load(run, "initial"), samples=False)
    found |= evaluate(model, opened, asked.model_copy(update={"task": ("zero-shot",)}), folder, samples=False)
    gains = [ResultRow.from_values(row, DIFFERENCE) for row in read_rows(folder / "probe" / DIFFERENCE)]
    numbers = [
        *_numbers({PROBE: found["probe"].find("AUROC", "Pneumonia", "100 %")}),
        *_numbers({GAIN: next(row for row in gains if (row.metric, row.label) == ("AUROC", "Pneumonia"))}),
        *_numbers({ZERO_SHOT: found["zero-shot"].find("AUROC", "Pneumonia")}),
    ]
    for gallery, where in galleries.items():
        config = EvaluateConfig(store=store, task=("retrieve",), where=where)
        result = evaluate(model, opened, config, folder, samples=False)["retrieve"]
        for metric in ("recall@1", "recall@10"):
            for direction in ("text to image", "image to text"):
                row = result.find(metric, "", direction)
                numbers += _numbers({f"{metric} {direction}, {gallery}": row})
                numbers += [Number(f"chance of {metric}, {gallery}", row.chance)] if row and direction == "text to image" else []
    return numbers


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a saved difference."""
    from lingula.core.files import read_json

    rows: list[dict[str, Any]] = read_json(path)
    return rows


def _numbers(rows: dict[str, Any]) -> list[Number]:
    return [Number(name, row.value, row.low, row.high) for name, row in rows.items() if row is not None]


def main() -> None:
    """Run the queue, or print what it has found."""
    given = arguments(__doc__, ARMS).parse_args()
    retrieval = [f"recall@10 {way}, {gallery}" for gallery in FIGURES for way in ("text to image", "image to text")]
    if not given.summary:
        cells = [Cell(arm, seed) for seed in given.seeds for arm in given.only]
        job = partial(work, root=ROOT, runs=ROOT / "runs/real-cxr", changes={})
        run_queue(cells, job, RESULTS, given.workers, given.minutes)
    for quantities in ((PROBE, GAIN, ZERO_SHOT), tuple(retrieval)):
        print(f"\n{summary(RESULTS, quantities)}")


if __name__ == "__main__":
    main()
