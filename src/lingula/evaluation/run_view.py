"""A run folder as the tables and the report page see it: read only, nothing required but the configuration."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lingula.core.config import read_yaml
from lingula.core.errors import UserError
from lingula.core.files import read_json, read_json_lines
from lingula.data.open_store import open_store
from lingula.data.store_schema import STORE_FILE
from lingula.evaluation.cohort import data_counts, is_phantom
from lingula.evaluation.evaluate import DATA, DIFFERENCE, TASKS
from lingula.evaluation.pictures import SavedPicture, load_pictures
from lingula.evaluation.result import RESULT, ResultRow, TaskResult
from lingula.evaluation.samples import Sample, load_samples


@dataclass
class RunView:
    """What a run folder says about itself.

    Args:
        name: How tables call it.
        path: The folder.
        config: Content of `config.yaml`.
        environment: Content of `environment.json`; empty where there is none.
        metrics: Lines of `metrics.jsonl`.
        results: Task to its result.
        differences: Task to the paired difference from the weights the run started from.
        samples: A few images with what the model says about them.
        pictures: Task to the pictures that it left for the page.
        data: Counts of the store: those of the evaluation, else of the environment, else the store itself.
    """

    name: str
    path: Path
    config: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, TaskResult] = field(default_factory=dict)
    differences: dict[str, list[ResultRow]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    pictures: dict[str, list[SavedPicture]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def only(self, tasks: Collection[str]) -> RunView:
        """Return the same run with the results, and the differences from its start, of some tasks alone."""
        results = {task: result for task, result in self.results.items() if task in tasks}
        return replace(self, results=results, differences={t: rows for t, rows in self.differences.items() if t in results})

    @classmethod
    def open(cls, path: Path, name: str = "") -> RunView:
        """Read a run folder; a run without evaluation has no results.

        Raises:
            UserError: It is not a run folder.
        """
        if not (path / "config.yaml").is_file():
            raise UserError(f"{path} is not a run (it has no config.yaml)", "Give the folder that lingula pretrain made.")
        config = read_yaml(path / "config.yaml")
        evaluation = path / "evaluation"
        environment = _optional(path / "environment.json") or {}
        results = {task: TaskResult.load(evaluation / task) for task in _tasks_in(evaluation)}
        differences = {task: _optional(evaluation / task / DIFFERENCE) for task in results}
        return cls(
            name=name or path.name,
            path=path,
            config=config,
            environment=environment,
            metrics=read_json_lines(path / "metrics.jsonl"),
            results=results,
            differences={t: [ResultRow.from_values(r, t) for r in rows] for t, rows in differences.items() if rows},
            samples=load_samples(evaluation),
            pictures={task: load_pictures(evaluation / task) for task in results},
            data=_optional(evaluation / DATA) or environment.get("data") or _count_store(config),
        )

    @property
    def method(self) -> str:
        """The method's name."""
        method = self.config.get("method")
        return str(method.get("name", "")) if isinstance(method, dict) else str(method or "")

    @property
    def phantom(self) -> bool:
        """Whether any number of the run comes from synthetic patients."""
        store = self.environment.get("store")
        trained_on = str(store.get("name", "")) if isinstance(store, dict) else ""
        return bool(self.data.get("phantom")) or is_phantom(trained_on) or any(r.phantom for r in self.results.values())


def _tasks_in(evaluation: Path) -> list[str]:
    """Return the tasks that left a result: ours in their order, then any other folder's by name."""
    found = {path.parent.name for path in evaluation.glob(f"*/{RESULT}")}
    return [*(task for task in TASKS if task in found), *sorted(found - set(TASKS))]


def _count_store(config: dict[str, Any]) -> dict[str, Any]:
    """Count the store that the run was trained on; nothing where it is no longer there."""
    data = config.get("data")
    store = Path(str(data.get("store", ""))) if isinstance(data, dict) else Path()
    return data_counts(open_store(store)) if (store / STORE_FILE).is_file() else {}


def _optional(path: Path) -> Any:
    """Read a JSON file; None where there is none."""
    return read_json(path) if path.is_file() else None
