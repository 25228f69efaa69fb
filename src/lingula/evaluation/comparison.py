"""Paired differences between two models on the same patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lingula.core.errors import UserError
from lingula.evaluation.ranking import ranked_difference, ranked_from_columns
from lingula.evaluation.result import CLASSIFICATION, MASKS, RANKING, ResultRow, TaskResult
from lingula.evaluation.scored import METRICS, difference_rows, from_columns
from lingula.evaluation.segmentation_rows import mask_difference_rows, masks_from_columns
from lingula.evaluation.surface_scores import NSD, surface_rows, surfaces_from_columns


def paired_difference(
    a: TaskResult, b: TaskResult, samples: int = 1000, seed: int = 0, metrics: Sequence[str] = METRICS
) -> list[ResultRow]:
    """Return a − b of every metric, with 95 % intervals from the same resampled patients for both.

    Results of tasks that score findings may be compared with each other where they score the same images and findings;
    of two results with several settings those that both have are compared. Tasks that neither score findings, nor rank a
    gallery, nor segment, such as the geometry of two clouds, have no paired difference here: the list is empty.

    Args:
        a: One result.
        b: The other.
        samples: Bootstrap resamples of patients.
        seed: Seed of the bootstrap.
        metrics: Which metrics of a classification task.

    Raises:
        UserError: They do not score the same things.
    """
    if a.task == b.task and a.task not in (*CLASSIFICATION, *RANKING, *MASKS):
        return []
    classify = a.task in CLASSIFICATION
    alike = b.task in CLASSIFICATION if classify else a.task == b.task
    if not alike or a.store_fingerprint != b.store_fingerprint:
        remedy = "Evaluate both on the same store with the same options."
        raise UserError(f"{a.task} of {a.encoder} and {b.task} of {b.encoder} cannot be compared", remedy)
    ours, theirs = _settings(a), _settings(b)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise UserError(f"{a.encoder} and {b.encoder} share no setting of {a.task}", "Evaluate both with the same fractions.")
    rows: list[ResultRow] = []
    for name in shared:
        if classify:
            one, two = from_columns(ours[name]), from_columns(theirs[name])
            _check(a, b, one.row_ids == two.row_ids and one.findings == two.findings)
            _check(a, b, bool(np.array_equal(one.targets, two.targets, equal_nan=True)))
            rows += difference_rows(one, two, samples, seed, name, metrics)
        elif a.task in MASKS:
            drawn, others = masks_from_columns(ours[name]), masks_from_columns(theirs[name])
            _check(a, b, drawn.row_ids == others.row_ids and drawn.findings == others.findings)
            _check(a, b, bool(np.array_equal(drawn.truth, others.truth, equal_nan=True)))
            rows += mask_difference_rows(drawn, others, samples, seed, name)
            if NSD in ours[name]:
                surfaces = surfaces_from_columns(ours[name]), surfaces_from_columns(theirs[name])
                rows += surface_rows(surfaces[0], samples, seed, name, other=surfaces[1])
        else:
            first, second = ranked_from_columns(ours[name]), ranked_from_columns(theirs[name])
            _check(a, b, first.row_ids == second.row_ids and list(first.values) == list(second.values))
            rows += ranked_difference(first, second, samples, seed, name)
    return rows


def _check(a: TaskResult, b: TaskResult, same: bool) -> None:
    if not same:
        remedy = "Evaluate both with the same labels, filters, folds and gallery."
        raise UserError(f"{a.encoder} and {b.encoder} were not scored on the same images and findings", remedy)


def _settings(result: TaskResult) -> dict[str, dict[str, np.ndarray]]:
    """Split the predictions by setting, as arrays per column."""
    table = result.predictions
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    settings = columns["setting"].astype(str)
    return {name: {key: values[settings == name] for key, values in columns.items()} for name in dict.fromkeys(settings.tolist())}
