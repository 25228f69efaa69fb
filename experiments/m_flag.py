"""Do M-FLAG's claims hold on the phantom, and what mends it? Phantom numbers; arms of one group share their budget.

    .venv/bin/python experiments/m_flag.py                     runs what docs/results/m_flag.csv does not have yet
    .venv/bin/python experiments/m_flag.py --summary           prints the tables and draws docs/results/m_flag.png
    .venv/bin/python experiments/m_flag.py --only clip m-flag --seeds 0 --minutes 30

Three groups: arms with the demo's budget; `short`, a quarter of its samples and in fp32, for processors that are slow in bf16;
`lite`, with the one encoder whose ImageNet weights come in a package. An interrupted queue goes on where it stopped.
"""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, Number, arguments, prepare_phantom, read, run_queue, summary
from panels import draw

ROOT = Path(__file__).resolve().parents[1]
RESULTS, FIGURE = ROOT / "docs/results/m_flag.csv", ROOT / "docs/results/m_flag.png"
STORE, RUNS = ROOT / "stores/m-flag", ROOT / "runs/m-flag"
FRACTIONS = (0.01, 0.1, 1.0)
SEGMENTED = "{:g} % of labels, frozen encoder, random decoder"
"""What the segmentation task calls a setting."""
FREE: dict[str, Any] = {"method": {"orthogonality_weight": 0.0}}
RAW = {"orthogonality_form": "raw", "orthogonality_on": "features", "off_diagonal_weight": 0.0051, "per_dimension": False}
BERT = {"layers": 1, "width": 128, "heads": 4, "steps": 300, "sentence_steps": 100, "sentence_pairs": 64}
TRAINED = {"text_encoder": {"frozen": False}}
WHITENED = {"text_head": "whitening", "orthogonality_weight": 0.0}
LINEAR = {"image_head": "batch-norm-linear"}
SHORT: dict[str, Any] = {
    "optimisation": {"steps": 300, "batch_size": 64},
    "runtime": {"precision": "fp32", "validate_every": 150},
}
LITE: dict[str, Any] = SHORT | {"image_encoder": {"name": "efficientnet_lite0"}}
FROM_IMAGENET: dict[str, Any] = SHORT | {"image_encoder": {"name": "efficientnet_lite0", "weights": "imagenet"}}


def at_rate(changes: dict[str, Any], rate: float) -> dict[str, Any]:
    """Change the peak learning rate, too."""
    return changes | {"optimisation": changes["optimisation"] | {"learning_rate": rate}}


ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "m-flag": ("m-flag", {}),
    "clip": ("clip", {}),
    "random": ("m-flag", {}),
    "m-flag, no orthogonality": ("m-flag", FREE),
    "m-flag, orthogonality raw (as released)": ("m-flag", {"method": RAW | {"orthogonality_weight": 1.0}}),
    "m-flag, whitened text, linear head": ("m-flag", {"method": WHITENED | LINEAR}),
    "short: m-flag": ("m-flag", SHORT),
    "short: m-flag, words trained": ("m-flag", SHORT | TRAINED),
    "short: m-flag, whitened text": ("m-flag", SHORT | {"method": WHITENED}),
    "short: m-flag, whitened text, linear head": ("m-flag", SHORT | {"method": WHITENED | LINEAR}),
    "short: m-flag, bare text, linear head": ("m-flag", SHORT | {"method": WHITENED | LINEAR | {"text_head": "none"}}),
    "short: m-flag, transformer frozen": ("m-flag", SHORT | {"text_encoder": {"small": BERT}}),
    "short: m-flag, transformer trained": ("m-flag", SHORT | {"text_encoder": {"small": BERT, "frozen": False}}),
    "short: clip": ("clip", SHORT),
    "lite: m-flag": ("m-flag", LITE),
    "lite: m-flag, rate 1e-3": ("m-flag", at_rate(LITE, 1e-3)),
    "lite: clip, rate 1e-3": ("clip", at_rate(LITE, 1e-3)),
    "lite: random": ("m-flag", LITE),
    "lite: imagenet": ("m-flag", FROM_IMAGENET),
    "lite: m-flag from imagenet": ("m-flag", FROM_IMAGENET),
}
"""Arm to method and what differs from the demo's settings; `random` and `imagenet` are scored before training. The rate of the
EfficientNet-Lite0 is chosen by zero-shot AUROC of the validation patients, seed 0."""
GROUPS = {"": "demo's budget", "short: ": "short budget", "lite: ": "EfficientNet-Lite0"}
"""Prefix of the arms to what they share; outside the first group nothing is fine-tuned, and a run has no intervals;
the third is segmented, too."""
UNTRAINED = ("random", "lite: random", "lite: imagenet")

TABLES = {
    "accuracy": ("zero-shot AUROC", "recall@1 text to image", *(f"probe AUROC {f:g}" for f in FRACTIONS)),
    "segmentation": ("segment Dice 0.01", "segment Dice 1"),
    "fine-tuning": ("fine-tune AUROC 0.01", "fine-tune AUROC 1"),
    "geometry": ("effective rank image features", "effective rank image latents", "alignment", "uniformity image latents"),
    "cost": ("seconds per step", "trainable parameters (million)", "peak memory (MiB)"),
}


def group_of(arm: str) -> str:
    """Return the prefix of an arm's group."""
    return next(prefix for prefix in reversed(GROUPS) if arm.startswith(prefix))


PANELS = {
    "zero-shot AUROC": "zero-shot AUROC",
    "recall@1 text to image": "recall@1, text to image",
    "probe AUROC 0.01": "probe AUROC, 1 %",
    "probe AUROC 1": "probe AUROC, 100 %",
    "effective rank image latents": "effective rank, image latents",
    "uniformity image latents": "uniformity, image latents",
}
"""What the figure shows, and how it is called there."""


def work(cell: Cell, store: Path, runs: Path, budget: dict[str, Any], evaluation: dict[str, Any]) -> list[Number]:
    """Train one arm with one seed, evaluate it, and return its numbers."""
    import torch

    from lingula import demo
    from lingula.training.pretrain import pretrain
    from lingula.training.recipes import recipe

    torch.set_num_threads(1)
    method, changes = ARMS[cell.arm]
    shared = {**budget, "data": {**budget["data"], "store": str(store)}, "runtime": {**budget["runtime"], "seed": cell.seed}}
    own = recipe(method, "sound", changes, recipe_values(demo.OWN[method], shared))
    run = cell.folder(runs)
    trained = cell.arm not in UNTRAINED
    if not trained:
        own = own.model_copy(update={"optimisation": own.optimisation.model_copy(update={"steps": 1})})
    encoder = language_model(own)
    busy = time.process_time()
    pretrain(own, run, overwrite=True, text_encoder=encoder)
    busy = time.process_time() - busy
    numbers = evaluated(run, store, trained, evaluation, group_of(cell.arm) == "", group_of(cell.arm) == "lite: ")
    shutil.rmtree(run / "checkpoints")
    return [*numbers, *(cost(run, busy) if trained else [])]


def language_model(config: Any) -> Any:
    """Train the small language model, or take the one that was: its time is not the method's."""
    from lingula.data.store import Store
    from lingula.training.assembly import choose_samples
    from lingula.training.language import find_text_encoder

    store = Store.open(config.data.store)
    return find_text_encoder(config, store, choose_samples(config, store).train)


def recipe_values(own: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Lay the method's own settings of the demo over the shared budget."""
    return {**shared, "method": own.get("method", {})} if "method" in own else shared


def evaluated(run: Path, store: Path, trained: bool, changes: dict[str, Any], tuned: bool, lite: bool) -> list[Number]:
    """Run all tasks; the patients of the fractions are the same for every arm and seed."""
    from lingula.data.store import Store
    from lingula.evaluation.config import EvaluateConfig
    from lingula.evaluation.evaluate import evaluate
    from lingula.inference import Model

    tasks = ("zero-shot", "probe", "retrieve", "geometry")
    config = EvaluateConfig(store=store, task=tasks, distinct_reports=True, text_view="affirmed", fraction=FRACTIONS, **changes)
    if not tuned:
        config = config.model_copy(update={"bootstrap": 0})
    model, opened = Model.load(run, "best" if trained else "initial"), Store.open(store)
    results = evaluate(model, opened, config, run / "evaluation", samples=False)
    tuning = config.model_copy(update={"task": ("fine-tune",), "fraction": (0.01, 1.0), "draws": 1, "bootstrap": 0})
    if tuned:
        results |= evaluate(model, opened, tuning, run / "evaluation", samples=False)
    if lite:
        results |= segmented(model, opened, config, run / "evaluation")
    results |= on_validation(model, opened, config, run / "evaluation-validation")
    wanted = [
        ("zero-shot AUROC", "zero-shot", ("AUROC", "macro", "")),
        ("validation zero-shot AUROC", "validation zero-shot", ("AUROC", "macro", "")),
        ("validation recall@1 text to image", "validation retrieve", ("recall@1", "", "text to image")),
        ("recall@1 text to image", "retrieve", ("recall@1", "", "text to image")),
        ("recall@1 image to text", "retrieve", ("recall@1", "", "image to text")),
        *((f"probe AUROC {f:g}", "probe", ("AUROC", "macro", f"{100 * f:g} %")) for f in FRACTIONS),
        *((f"fine-tune AUROC {f:g}", "fine-tune", ("AUROC", "macro", f"{100 * f:g} %")) for f in (0.01, 1.0)),
        *(
            (f"{metric} {cloud}", "geometry", (metric, "", cloud))
            for cloud in ("image features", "image latents", "text latents")
            for metric in ("effective rank", "uniformity", "mean correlation")
        ),
        *((f"segment Dice {f:g}", "segment", ("Dice", "macro", SEGMENTED.format(100 * f))) for f in (0.01, 1.0)),
        ("alignment", "geometry", ("alignment", "", "pairs")),
        ("Fisher ratio", "geometry", ("Fisher ratio", "macro", "image features")),
    ]
    numbers = []
    for quantity, task, key in wanted:
        row = results[task].find(*key) if task in results else None
        if row is not None:
            numbers.append(Number(quantity, row.value, row.low, row.high))
    return numbers


def segmented(model: Any, store: Any, config: Any, folder: Path) -> dict[str, Any]:
    """Train a U-Net's decoder on the frozen encoder with 1 % and with all of the masks, as the tour does."""
    from lingula import tour
    from lingula.core.config import merged
    from lingula.evaluation.config import EvaluateConfig
    from lingula.evaluation.evaluate import evaluate

    values = {"task": ("segment",), "fraction": (0.01, 1.0), "draws": 1, "bootstrap": 0, "segment": tour.TASKS["segment"]}
    chosen = EvaluateConfig(**merged(config.model_dump(), values))
    return evaluate(model, store, chosen, folder, samples=False)


def on_validation(model: Any, store: Any, config: Any, folder: Path) -> dict[str, Any]:
    """Score the validation patients, by whom one form of a method is chosen before another."""
    from lingula.evaluation.evaluate import evaluate

    chosen = config.model_copy(update={"task": ("zero-shot", "retrieve"), "split": "val", "bootstrap": 0})
    return {f"validation {name}": result for name, result in evaluate(model, store, chosen, folder, samples=False).items()}


def cost(run: Path, busy: float) -> list[Number]:
    """Seconds per step without the first entry, those of the processor over the whole training, and parameters."""
    from lingula.training.run import Run

    opened = Run(run)
    speed = [entry["images_per_second"] for entry in opened.metrics() if "images_per_second" in entry][1:]
    parameters = opened.environment["parameters"]
    seconds = opened.config.optimisation.batch_size * len(speed) / sum(speed) if speed else None
    return [
        Number("seconds per step", seconds),
        Number("CPU seconds per step", busy / opened.config.optimisation.steps),
        Number("trainable parameters (million)", parameters["trainable"] / 1e6),
        Number("parameters (million)", parameters["total"] / 1e6),
    ]


def show() -> None:
    """Print the tables of each group and draw all of it."""
    arms = list(dict.fromkeys(cell.arm for cell in read(RESULTS)))
    for prefix, title in GROUPS.items():
        chosen = [arm for arm in arms if group_of(arm) == prefix]
        found = {number.quantity for cell, numbers in read(RESULTS).items() if cell.arm in chosen for number in numbers}
        for name, quantities in TABLES.items():
            if found & set(quantities):
                print(f"\n{title}: {name}\n\n{summary(RESULTS, quantities, arms=chosen)}")
    groups = {
        title: {arm: arm.removeprefix(prefix) for arm in arms if group_of(arm) == prefix} for prefix, title in GROUPS.items()
    }
    draw(RESULTS, FIGURE, groups, PANELS, "M-FLAG on the phantom: phantom numbers, a dot per seed, a bar at their mean", "m-flag")


def main() -> None:
    """Run the queue, or print what it has found."""
    parser = arguments(__doc__, ARMS)
    parser.add_argument("--list", action="store_true", help="print the cells and whether they are done")
    given = parser.parse_args()
    cells = [Cell(arm, seed) for seed in given.seeds for arm in given.only]
    if given.summary:
        show()
        return
    if given.list:
        done = read(RESULTS)
        for cell in cells:
            print(f"{'done' if cell in done else '    '}  {cell.arm}, seed {cell.seed}")
        return
    from lingula import demo

    prepare_phantom(STORE, demo.STUDIES, demo.SIZE)
    run_queue(
        cells, partial(work, store=STORE, runs=RUNS, budget=demo.BUDGET, evaluation={}), RESULTS, given.workers, given.minutes
    )
    show()


if __name__ == "__main__":
    main()
