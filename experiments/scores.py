"""What an evaluation of a run says in the mean over findings, as the numbers of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import Number, read, summary


def evaluated(run: Path, store: Path, checkpoint: str, values: dict[str, Any]) -> list[Number]:
    """Run tasks; keep the means over findings, named by task, metric and setting.

    Args:
        run: Run folder; the evaluation goes into it.
        store: Radiographs or CT volumes.
        checkpoint: `best` (by validation), `last` or `initial`.
        values: Of an `EvaluateConfig`, without the store.
    """
    from lingula.data.open_store import open_store
    from lingula.evaluation.config import EvaluateConfig
    from lingula.evaluation.evaluate import evaluate
    from lingula.inference import load_model

    config = EvaluateConfig(store=store, **values)
    model = load_model(run, checkpoint, config.volumes)
    results = evaluate(model, open_store(store), config, run / "evaluation", samples=False)
    return [
        Number(" · ".join(part for part in (task, row.metric, row.setting) if part), row.value, row.low, row.high)
        for task, result in results.items()
        for row in result.rows
        if row.label in ("", "macro") and row.subgroup == "all"
    ]


def tables(results: Path, shown: Mapping[str, Sequence[str]], arms: Iterable[str]) -> str:
    """Return one table per task that has numbers: a row per arm that has some.

    Args:
        results: CSV file of the cells.
        shown: Task to the metrics that its table has; a number without a metric stands alone under its name.
        arms: In the order of the rows.
    """
    known: dict[str, dict[str, None]] = {}
    for cell, numbers in read(results).items():
        known.setdefault(cell.arm, {}).update({number.quantity: None for number in numbers})
    quantities = list(dict.fromkeys(quantity for own in known.values() for quantity in own))
    parts = []
    for task, metrics in shown.items():
        chosen = [q for q in quantities if q == task or (q.split(" · ")[0] == task and q.split(" · ")[1] in metrics)]
        if chosen:
            rows = [arm for arm in arms if any(quantity in known.get(arm, ()) for quantity in chosen)]
            parts.append(f"\n{task}\n\n{summary(results, chosen, arms=rows)}")
    return "\n".join(parts)
