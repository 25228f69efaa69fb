"""What demo and tour share: synthetic patients, several methods with one budget, their tasks, one table and one page."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Showcase:
    """Several methods on the same phantom.

    Args:
        name: What it is called in messages.
        studies: Phantom studies of each split.
        size: Side of the stored images, pixels.
        budget: What all methods share, laid over each one's `sound` preset.
        own: Method to what it has of its own; in the order in which they are run, the first is the default.
        tasks: Method to the values of its evaluation.
    """

    name: str
    studies: Mapping[str, int]
    size: int
    budget: Mapping[str, Any]
    own: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, Mapping[str, Any]]

    def run(self, folder: Path, store: Path, seed: int = 0, overwrite: bool = False) -> None:
        """Phantom -> store -> runs -> tasks -> table in the terminal and report.html.

        Args:
            folder: Where the runs and the page go; it can be given to `lingula.load`, which takes its default run.
            store: Where the phantom's store goes; a finished one is used again.
            seed: Seed of the training; the patients stay the same.
            overwrite: Replace an earlier one.

        Raises:
            UserError: The folder holds something else, or an earlier one that may not be replaced.
        """
        begun = time.monotonic()
        self._claim(folder, overwrite)
        source = PhantomSource(self.studies["train"], self.studies["val"], self.studies["test"], size=self.size)
        prepare(source, store, PrepareConfig(size=self.size), workers=os.cpu_count() or 1)
        for method in self.own:
            pretrain(self.config(method, store, seed), folder / method)
            print(f"evaluating {method} on unseen patients", file=sys.stderr)
            config = EvaluateConfig(store=store, **self.tasks[method])
            evaluate(Model.load(folder / method), Store.open(store), config, folder / method / "evaluation")
        write_json(folder / COMPARISON, {"runs": list(self.own), "default": next(iter(self.own))})
        views = [RunView.open(folder / method) for method in self.own]
        print_tables(views)
        write_report(views, folder / "report.html")
        print(f"Page: {folder / 'report.html'}   ({time.monotonic() - begun:.0f} s)")

    def config(self, method: str, store: Path, seed: int) -> Any:
        """A method's `sound` preset with the shared budget."""
        data, runtime = {**self.budget["data"], "store": str(store)}, {**self.budget["runtime"], "seed": seed}
        return recipe(method, "sound", self.own[method], {**self.budget, "data": data, "runtime": runtime})

    def _claim(self, folder: Path, overwrite: bool) -> None:
        """Make sure that only an earlier one is replaced, and only when asked."""
        if not folder.exists() or not any(folder.iterdir()):
            return
        ours = {*self.own, COMPARISON, "report.html"}
        strangers = [path.name for path in folder.iterdir() if path.name not in ours]
        if strangers:
            raise UserError(f"{folder} holds {strangers[0]}, which no {self.name} wrote", "Choose another --folder.")
        if not overwrite:
            problem = f"{folder} holds an earlier {self.name}"
            raise UserError(problem, "Replace it with --overwrite, or choose another --folder.")
        shutil.rmtree(folder)
