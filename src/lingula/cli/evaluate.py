"""`lingula evaluate RUN`: downstream tasks on a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lingula.evaluation.config import EvaluateConfig


@dataclass
class Evaluate:
    """Score a run on a store, each task with 95 % intervals over patients and chance beside it."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")]
    """The protocol."""
    checkpoint: str = "best"
    """`best` (by validation), `last` or `initial`."""
    detail: bool = False
    """Print every finding and subgroup, too."""

    def run(self) -> None:
        """Evaluate, print the tables, leave the numbers in RUN/evaluation."""
        from lingula.data.open_store import open_store
        from lingula.evaluation.evaluate import evaluate
        from lingula.evaluation.protocols.protocol import with_protocol
        from lingula.evaluation.run_view import RunView
        from lingula.evaluation.tables import print_tables
        from lingula.inference import load_model, runs_of

        store, config = open_store(self.config.store), with_protocol(self.config)
        run, seen = runs_of(self.folder)[0], config.volumes
        start = load_model(run, "initial", seen) if config.compare_start else None
        results = evaluate(load_model(run, self.checkpoint, seen), store, config, run / "evaluation", start)
        print_tables([RunView.open(run).only(results)], detail=self.detail)
        if config.protocol:
            for note in (note for result in results.values() for note in result.notes):
                if note.startswith(config.protocol):
                    print(note)
        print(f"Numbers and predictions: {run / 'evaluation'}   page: lingula report {run}")
