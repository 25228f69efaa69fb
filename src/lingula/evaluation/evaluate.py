"""Run tasks for one encoder and save what they leave behind."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from lingula.core.errors import UserError, nearest
from lingula.core.files import write_json
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.cohort import data_counts
from lingula.evaluation.comparison import paired_difference
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Encoder
from lingula.evaluation.protocols.protocol import with_protocol
from lingula.evaluation.protocols.published import caveats, side_by_side
from lingula.evaluation.result import TaskResult
from lingula.evaluation.samples import collect_samples, save_samples

TASKS = {
    "zero-shot": "lingula.evaluation.tasks.zero_shot",
    "probe": "lingula.evaluation.tasks.probe",
    "token-probe": "lingula.evaluation.tasks.token_probe",
    "fine-tune": "lingula.evaluation.tasks.fine_tune",
    "segment": "lingula.evaluation.tasks.segment",
    "detect": "lingula.evaluation.tasks.detect",
    "retrieve": "lingula.evaluation.tasks.retrieve",
    "geometry": "lingula.evaluation.tasks.geometry",
    "supervised": "lingula.evaluation.tasks.supervised",
    "ground": "lingula.evaluation.tasks.ground",
    "generate": "lingula.evaluation.tasks.generate",
}
"""Task to the module that holds its `run`; a new task is one line here."""

ON_VOLUMES = {"zero-shot", "probe", "token-probe", "retrieve", "geometry", "segment", "generate"}
"""Tasks that run on CT volumes."""

Task = Callable[[Encoder, StoreTable, EvaluateConfig, Path | None], TaskResult]

DATA = "data.json"
DIFFERENCE = "against_start.json"
START = "start"


def task(name: str) -> Task:
    """Return a task's `run`.

    Raises:
        UserError: There is no such task.
    """
    if name not in TASKS:
        raise UserError(f"no such task: {name}", nearest(name, TASKS) or f"Tasks: {', '.join(TASKS)}.")
    run: Task = importlib.import_module(TASKS[name]).run
    return run


def evaluate(
    encoder: Encoder, store: StoreTable, config: EvaluateConfig, folder: Path, start: Encoder | None = None, samples: bool = True
) -> dict[str, TaskResult]:
    """Run the tasks; leave `TASK/result.json` and `TASK/predictions.parquet`, the data counts and a few samples in a folder.

    Args:
        encoder: The model.
        store: The images.
        config: Which tasks, and their numbers; a protocol's where it names one.
        folder: Usually RUN/evaluation; the embedding cache lives there too.
        start: The weights the run started from: scored too, with the paired difference in `TASK/against_start.json`.
        samples: Whether to keep a few images with their prompts and retrieved reports for the report page.

    Raises:
        UserError: A task cannot be run on this store with this model.
    """
    config = with_protocol(config)
    results: dict[str, TaskResult] = {}
    _check_kind(store, config)
    _check_seen(encoder, store, config)
    write_json(folder / DATA, data_counts(store))
    for name in config.task:
        run = task(name)
        result = run(encoder, store, config, folder)
        if config.protocol:
            notes = [*side_by_side(result, config), *caveats(store, config, store.about)]
            result = result.model_copy(update={"notes": [*result.notes, *notes]})
        result.save(folder / name)
        results[name] = result
        if start is not None:
            before = run(start, store, config, folder)
            before.save(folder / START / name)
            difference = paired_difference(result, before, config.bootstrap, config.seed)
            write_json(folder / name / DIFFERENCE, [row.model_dump(mode="json") for row in difference])
    if samples:
        save_samples(folder, collect_samples(encoder, store, config, folder))
    return results


def _check_seen(encoder: Encoder, store: StoreTable, config: EvaluateConfig) -> None:
    """Refuse a model that was loaded to be shown something else of CT volumes than the configuration says."""
    seen = getattr(encoder, "seen", config.volumes)
    if isinstance(store, VolumeStore) and config.volumes not in (None, seen):
        problem = f"the model was loaded to see volumes as {seen}, and the evaluation says {config.volumes}"
        raise UserError(problem, f'Load it so: load_model(run, seen="{config.volumes}").')


def _check_kind(store: StoreTable, config: EvaluateConfig) -> None:
    """Refuse tasks and options that are for the other kind of images."""
    if not isinstance(store, VolumeStore):
        if config.volumes is not None:
            raise UserError(f"--volumes is for CT, and store {store.name} holds radiographs", "Leave it out.")
        return
    left = [name for name in config.task if name not in ON_VOLUMES]
    if left:
        problem = f"the task {left[0]} runs on radiographs, and {store.path} holds CT volumes"
        raise UserError(problem, f"On CT volumes run: {', '.join(sorted(ON_VOLUMES))}.")
