"""Detection: boxes found by a head on the encoder's feature pyramid, at several fractions of the training patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store import Store
from lingula.evaluation.cohort import select_rows
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.detection import FoundBoxes
from lingula.evaluation.detection_pictures import detection_pictures
from lingula.evaluation.detection_scores import OVERLAPS, RATES, Detections, detection_rows
from lingula.evaluation.detection_truth import DetectionTruth, gather_boxes
from lingula.evaluation.detector_training import ENCODER_SHARE, EPOCHS, Schedule, Tuned, look_for, train_detector
from lingula.evaluation.detectors import Detector
from lingula.evaluation.encoder import DenseTrainableEncoder, Encoder
from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.tasks.common import Partition, divide_rows, make_result
from lingula.evaluation.tasks.fractions import draw_partitions, fraction_name


def run(encoder: Encoder, store: Store, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Train a detection head for every fraction of the boxes and every draw of patients, and score what it finds.

    The patients are drawn as the probe draws them. The step is chosen by strict mAP on validation; the encoder itself stays.

    Args:
        encoder: A model that gives its image tower away (`DenseTrainableEncoder`), with a feature pyramid.
        store: The images and their boxes.
        config: The task's numbers.
        cache: Not used: nothing of a trained detector is kept.

    Raises:
        UserError: The model has no pyramid, or there is no box to train on, to choose by or to score.
    """
    if not isinstance(encoder, DenseTrainableEncoder):
        raise UserError(f"{encoder.name} does not give its image tower away", "Detect with a run of lingula pretrain.")
    rows, partitions, notes = divide_rows(store, select_rows(store, config.where), config)
    every = np.unique(np.concatenate([part for each in partitions for part in (each.train, each.val, each.test)]))
    truth = gather_boxes(store, every, config)
    partitions = [_known(truth, part) for part in partitions]
    rows = truth.known(rows)
    settings: dict[str, Detections] = {}
    for fraction in config.fraction:
        found, sizes, steps, blind = [], [], [], 0
        for part in partitions:
            for seed, drawn in draw_partitions(store, part, fraction, config):
                said, tuned = _fit(encoder, store, truth, drawn, config, fraction, seed)
                by_row = dict(zip(part.test.tolist(), said, strict=True))
                found.append([by_row.get(int(row)) for row in rows])
                sizes.append(len(drawn.train))
                steps.append(tuned.step)
                blind += tuned.step == 0
        name = fraction_name(fraction)
        settings[name] = _collect(store, truth, rows, found)
        notes.append(f"{name} of labels: {len(found)}× on {_span(sizes)} images, best validation at step {_span(steps)}.")
        if blind:
            notes.append(f"{name} of labels: {blind} draws had no box to learn from and find nothing.")
    return _result(encoder, store, config, truth, rows, settings, notes)


def _known(truth: DetectionTruth, part: Partition) -> Partition:
    """Keep the rows whose boxes are known.

    Raises:
        UserError: One of the three parts has no box.
    """
    kept = Partition(*(truth.known(rows) for rows in (part.train, part.val, part.test)))
    for name, rows in (("training", kept.train), ("validation", kept.val), ("scored", kept.test)):
        if not len(truth.boxed(rows)):
            what = ", ".join(truth.findings)
            raise UserError(f"none of the {len(rows)} {name} images has a box of {what}", "Choose other rows, or use --folds 5.")
    return kept


def _fit(
    encoder: DenseTrainableEncoder,
    store: Store,
    truth: DetectionTruth,
    part: Partition,
    config: EvaluateConfig,
    fraction: float,
    seed: int,
) -> tuple[list[FoundBoxes], Tuned]:
    """Train one detector and let it look at the scored rows; where no training image has a box it finds nothing."""
    if not len(truth.boxed(part.train)):
        return [FoundBoxes.nothing() for _ in part.test], Tuned(0, 0.0)
    dense = encoder.dense_trainable()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector = Detector(dense.encoder, len(truth.classes), dense.transform.image_size, config.detect)
        detector.to(next(dense.encoder.parameters()).device)
        schedule = Schedule.of(config.detect, fraction, len(part.train))
        tuned = train_detector(detector, dense.transform, store, truth, part.train, part.val, config.detect, schedule, seed)
    return look_for(detector, dense.transform, store, part.test), tuned


def _collect(store: Store, truth: DetectionTruth, rows: RowNumbers, found: list[list[FoundBoxes | None]]) -> Detections:
    ids, patients = store.column("row_id"), store.column("patient_id")
    return Detections(
        row_ids=[str(ids[row]) for row in rows],
        patients=[str(patients[row]) for row in rows],
        classes=truth.classes,
        truth=[truth.of[int(row)] for row in rows],
        found=found,
    )


def _result(
    encoder: Encoder,
    store: Store,
    config: EvaluateConfig,
    truth: DetectionTruth,
    rows: RowNumbers,
    settings: dict[str, Detections],
    notes: list[str],
) -> TaskResult:
    """Score every setting and pack the result with its predictions and pictures."""
    numbers: list[ResultRow] = []
    for setting, detections in settings.items():
        numbers += detection_rows(detections, config.scorer, config.detect.confidence, config.bootstrap, config.seed, setting)
    notes = notes + _notes(config, truth, rows, numbers)
    result = make_result("detect", encoder, store, config, numbers, _protocol(config, truth, rows), notes)
    last = next(reversed(settings))
    pictures = detection_pictures(store, rows, settings[last], last, config.seed)
    tables = [_table(detections, setting) for setting, detections in settings.items()]
    return result.with_predictions(pa.concat_tables(tables)).with_pictures(pictures)


def _notes(config: EvaluateConfig, truth: DetectionTruth, rows: RowNumbers, numbers: list[ResultRow]) -> list[str]:
    boxed = len(truth.boxed(rows))
    notes = [f"{boxed} of the {len(rows)} scored images have a box. AP50 and sensitivity are at an overlap of 0.50."]
    if "mgca" in config.scorer:
        counted = {row.setting: row.n for row in numbers if row.metric.endswith("(mgca)")}
        shares = ", ".join(f"{n} at {setting}" for setting, n in counted.items())
        notes.append(
            f"mgca, the published scorer, forgets images without a true box and images without a found box of score "
            f"{config.detect.confidence:g} or more: it counts {shares}. Compare it with published numbers only."
        )
    if truth.unknown:
        notes.append(f"{len(truth.unknown)} images are left out: labelled with one of the findings, but no box is drawn.")
    return notes


def _protocol(config: EvaluateConfig, truth: DetectionTruth, rows: RowNumbers) -> dict[str, Any]:
    detect = config.detect
    return {
        "findings": truth.findings,
        "classes": detect.classes,
        "folds": config.folds,
        "fractions": list(config.fraction),
        "draws": config.draws,
        "head": detect.head,
        "trained": "head" if detect.encoder == "frozen" else f"head, and encoder at {ENCODER_SHARE} of the rate",
        "optimiser": f"AdamW, weight decay {detect.weight_decay:g}, rate {detect.rate or '2e-4 up to 1 %, else 5e-4'}, constant",
        "batch": detect.batch or "8 up to 1 %, else 16",
        "steps": detect.steps or f"{EPOCHS} epochs",
        "augmentation": detect.augment,
        "early stopping": f"strict mAP on validation, patience {detect.patience}",
        "overlaps": list(OVERLAPS),
        "suppression": detect.suppress,
        "confidence of mgca": detect.confidence,
        "false positives per image": list(RATES),
        "images": len(rows),
    }


def _table(detections: Detections, setting: str) -> pa.Table:
    """Lay the boxes out: per image a line of kind `image`, one `truth` per true box, one `found` per found box of every unit."""
    lines: list[dict[str, Any]] = []
    for place, (row_id, patient) in enumerate(zip(detections.row_ids, detections.patients, strict=True)):
        common = {"setting": setting, "row_id": row_id, "patient_id": patient}
        lines.append(common | {"kind": "image"})
        own = detections.truth[place]
        for box, label in zip(own.boxes.tolist(), own.labels.tolist(), strict=True):
            lines.append(common | {"kind": "truth", "class": detections.classes[label]} | _corners(box))
        for unit, found in enumerate(detections.found):
            said = found[place] or FoundBoxes.nothing()
            for box, score, label in zip(said.boxes.tolist(), said.scores.tolist(), said.labels.tolist(), strict=True):
                named = {"kind": "found", "class": detections.classes[label], "unit": unit, "score": score}
                lines.append(common | named | _corners(box))
    return pa.Table.from_pylist(lines, schema=PREDICTIONS)


PREDICTIONS = pa.schema(
    [
        *((name, pa.string()) for name in ("setting", "row_id", "patient_id", "kind", "class")),
        ("unit", pa.int32()),
        ("score", pa.float64()),
        *((name, pa.float32()) for name in ("x1", "y1", "x2", "y2")),
    ]
)
"""Boxes are in stored pixels."""


def _corners(box: list[float]) -> dict[str, float]:
    return dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))


def _span(values: list[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"
