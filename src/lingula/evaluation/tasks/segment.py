"""Segmentation: a U-Net on the encoder, trained on several fractions of the masks, scored as published and strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store import Store
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.cohort import select_rows, subgroups
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import DenseTrainableEncoder, Encoder
from lingula.evaluation.pictures import Picture
from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.segment_config import DecoderName, EncoderName
from lingula.evaluation.segmentation_fits import Fits, assemble
from lingula.evaluation.segmentation_pictures import draw_segments
from lingula.evaluation.segmentation_rows import mask_columns, mgca_rows, strict_rows
from lingula.evaluation.segmentation_scores import MGCA_THRESHOLD, ScoredMasks
from lingula.evaluation.segmentation_truth import SegmentationTruth, gather_masks
from lingula.evaluation.segmenter import count_pixels
from lingula.evaluation.segmenter_training import train_segmenter
from lingula.evaluation.tasks.common import FEW, Partition, divide_rows, make_result
from lingula.evaluation.tasks.fractions import draw_partitions, fraction_name
from lingula.evaluation.tasks.segment_volumes import segment_volumes


@dataclass(frozen=True)
class _Data:
    """Rows, truth, and what a reader has to know of both."""

    truth: SegmentationTruth
    rows: RowNumbers
    partitions: list[Partition]
    notes: list[str]


def run(encoder: Encoder, store: Store | VolumeStore, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Train a U-Net for every fraction of the patients, every draw, and every choice of encoder and decoder.

    One map per finding, several may hold for a pixel. Step and thresholds come from validation; the encoder itself stays.
    Images, masks and predictions are compared in the model's view (see `segmentation_scores`, which also names the scores).
    Of CT volumes, see `segment_volumes`.

    Args:
        encoder: A model that gives its feature pyramid away (`DenseTrainableEncoder`).
        store: The images.
        config: The task's numbers.
        cache: Not used: nothing of a trained segmenter is kept.

    Raises:
        UserError: The model cannot be used so, a finding has no mask where one is needed, or nothing is left to score.
    """
    if isinstance(store, VolumeStore):
        return segment_volumes(encoder, store, config)
    if not isinstance(encoder, DenseTrainableEncoder):
        raise UserError(f"{encoder.name} does not give its image tower away", "Segment with a run of lingula pretrain.")
    data = _gather(store, config)
    variants, notes = _variants(encoder, config)
    rows: list[ResultRow] = []
    tables: list[pa.Table] = []
    pictures: list[Picture] = []
    for fraction in config.fraction:
        for variant in variants:
            setting = f"{fraction_name(fraction)} of labels, {variant[0]} encoder, {variant[1]} decoder"
            done = _fit_all(encoder, data, config, fraction, variant, setting)
            scored = assemble(store, data.truth.findings, data.rows, done.fits)
            rows += _rows(scored, store, data, config, setting)
            tables.append(pa.table(mask_columns(scored, setting)))
            notes += done.notes(setting)
            pictures = done.pictures or pictures
    counts = dict(zip(scored.findings, scored.totals()[1].tolist(), strict=False))
    rare = [finding for finding, count in counts.items() if count < FEW]
    if rare:
        notes.append(f"Fewer than {FEW} scored images with it in view, so hardly a number: {', '.join(rare)}.")
    result = make_result("segment", encoder, store, config, rows, _protocol(data, config, scored), [*data.notes, *notes])
    return result.with_predictions(pa.concat_tables(tables)).with_pictures(pictures)


def _gather(store: Store, config: EvaluateConfig) -> _Data:
    """Choose rows and findings; rows that say nothing about any of the findings are left out."""
    kept = select_rows(store, config.where)
    if config.folds:
        truth = gather_masks(store, kept, kept, config)
        rows, partitions, notes = divide_rows(store, truth.usable(kept), config)
    else:
        rows, (part,), notes = divide_rows(store, kept, config)
        truth = gather_masks(store, part.train, rows, config)
        partitions = [Partition(*(truth.usable(each) for each in (part.train, part.val, part.test)))]
        kept, rows = rows, truth.usable(rows)
    left_out = len(kept) - len(rows)
    if left_out:
        notes = [*notes, f"{left_out} of {len(kept)} images to score say nothing about any of these findings and are left out."]
    return _Data(truth, rows, partitions, notes)


def _variants(encoder: DenseTrainableEncoder, config: EvaluateConfig) -> tuple[list[tuple[EncoderName, DecoderName]], list[str]]:
    """Return the choices of encoder and decoder; where a method has no decoder, a random one does if it is among them."""
    decoders, notes = list(config.segment.decoder), []
    if "pre-trained" in decoders and len(decoders) > 1 and encoder.dense_trainable().decoder is None:
        decoders.remove("pre-trained")
        notes.append("The method trains no decoder: there is only a random one.")
    return [(tower, decoder) for tower in config.segment.encoder for decoder in decoders], notes


def _fit_all(
    encoder: DenseTrainableEncoder,
    data: _Data,
    config: EvaluateConfig,
    fraction: float,
    variant: tuple[EncoderName, DecoderName],
    setting: str,
) -> Fits:
    """Train and score every partition and every draw of one setting; draw pictures of the first fit."""
    done, truth = Fits(), data.truth
    for part in data.partitions:
        for seed, drawn in draw_partitions(truth.store, part, fraction, config):
            given = encoder.dense_trainable()
            trained = train_segmenter(given, truth, config.segment, variant, drawn.train, part.val, seed)
            thresholds = trained.on_val.best()[0]
            counts = count_pixels(trained.network, truth, given.transform, part.test)
            done.add(trained, truth, drawn.train, (part.test, counts, thresholds))
            if len(done.fits) == 1:
                how = config.segment.pictures, config.seed, setting
                done.pictures = draw_segments(trained.network, truth, given.transform, part.test, thresholds, *how)
    return done


def _rows(scored: ScoredMasks, store: Store, data: _Data, config: EvaluateConfig, setting: str) -> list[ResultRow]:
    rows: list[ResultRow] = []
    if "strict" in config.scorer:
        rows += strict_rows(scored, config.bootstrap, config.seed, setting)
        for name, places in subgroups(store, data.rows).items():
            rows += strict_rows(scored.take(places), config.bootstrap, config.seed, setting, name, metrics=("Dice",))
    if "mgca" in config.scorer:
        rows += mgca_rows(scored, config.segment.batch, setting)
    return rows


def _protocol(data: _Data, config: EvaluateConfig, scored: ScoredMasks) -> dict[str, Any]:
    segment = config.segment
    return {
        "findings": data.truth.findings,
        "against": config.against,
        "folds": config.folds,
        "fractions": list(config.fraction),
        "draws": config.draws,
        "view": f"{round(np.max(scored.area) ** 0.5)} pixels a side, as the model sees an image; the crop cuts masks off, too",
        "truth": "masks and filled boxes" if segment.boxes else "masks",
        "images without region and label": segment.unlisted,
        "loss": segment.loss,
        "optimiser": f"AdamW, weight decay {segment.weight_decay}, rate {segment.rate}, constant",
        "steps": segment.steps,
        "batch": segment.batch,
        "augmentation": "as in pre-training" if segment.augment else "none",
        "batch norm of a frozen encoder": segment.batch_norm,
        "early stopping": f"{segment.choose_by} on validation every {segment.every} steps, patience {segment.patience}",
        "strict": "threshold of the highest pooled Dice on validation, per finding; Dice and IoU over images with the finding",
        "mgca": f"threshold {MGCA_THRESHOLD}, an empty truth scores 1 or 0, mean over batches of {segment.batch}",
        "chance": "predicting every pixel (strict), predicting none (mgca)",
    }
