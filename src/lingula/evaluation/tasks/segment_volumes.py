"""Segmentation of CT volumes: a decoder on the volume encoder, trained on crops, scored on whole volumes by Dice and surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import ImageScores
from lingula.evaluation.cohort import select_rows, subgroups
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Named
from lingula.evaluation.extras import need_packages
from lingula.evaluation.pictures import Picture
from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.segment_config import EncoderName, SegmentConfig
from lingula.evaluation.segmentation_fits import Fits, assemble
from lingula.evaluation.segmentation_rows import mask_columns, strict_rows
from lingula.evaluation.segmentation_scores import ScoredMasks
from lingula.evaluation.segmentation_truth import known_places
from lingula.evaluation.surface_scores import NSD, ScoredSurfaces, surface_rows
from lingula.evaluation.tasks.common import FEW, Partition, divide_rows, make_result
from lingula.evaluation.tasks.fractions import draw_partitions, fraction_name
from lingula.evaluation.volume_encoder import VolumeTrainableEncoder
from lingula.evaluation.volume_pictures import draw_volume_segments
from lingula.evaluation.volume_segment_config import HeadName
from lingula.evaluation.volume_segmenter import WholeVolumes
from lingula.evaluation.volume_segmenter_training import train_volume_segmenter
from lingula.evaluation.volume_truth import Sides, VolumeTruth

Variant = tuple[EncoderName, HeadName]


@dataclass(frozen=True)
class _Data:
    """Rows, truth, and what a reader has to know of both."""

    truth: VolumeTruth
    rows: RowNumbers
    partitions: list[Partition]
    notes: list[str]


@dataclass
class _VolumeFits(Fits):
    """The fits of one setting, with the surface Dice of each."""

    surfaces: list[ImageScores] = field(default_factory=list)


FOR_RADIOGRAPHS = ("decoder", "channels", "boxes", "choose_by", "batch", "batch_norm")
"""Options of segmentation that mean nothing for CT volumes."""


def segment_volumes(encoder: Named, store: VolumeStore, config: EvaluateConfig) -> TaskResult:
    """Train a decoder for every fraction of the patients, every draw, and every choice of encoder and decoder.

    One map per finding, several may hold for a voxel. Step and thresholds come from validation; the model itself stays. Whole
    volumes are compared on their stored voxels. Dice and surface Dice are means over the volumes in which the finding is: there a
    missed finding counts 0. A volume without it has neither; what is predicted there shows in specificity and false area.

    Args:
        encoder: A model that gives its volume encoder away (`VolumeTrainableEncoder`).
        store: The volumes.
        config: The task's numbers.

    Raises:
        UserError: The model cannot be used so, a finding has no mask where one is needed, or nothing is left to score.
    """
    if not isinstance(encoder, VolumeTrainableEncoder):
        raise UserError(f"{encoder.name} does not give a volume encoder away", "Segment CT volumes with a colipri run.")
    _refuse_what_is_for_radiographs(config.segment)
    need_packages("segmentation of CT volumes", "ct", "monai")
    data = _gather(store, config)
    variants: list[Variant] = [(tower, head) for tower in config.segment.encoder for head in config.segment.volume.head]
    rows: list[ResultRow] = []
    tables: list[pa.Table] = []
    notes: list[str] = []
    pictures: list[Picture] = []
    for fraction in config.fraction:
        for variant in variants:
            setting = f"{fraction_name(fraction)} of labels, {variant[0]} encoder, {variant[1]} decoder"
            done = _fit_all(encoder, data, config, fraction, variant, setting)
            masks = assemble(store, data.truth.findings, data.rows, done.fits)
            surfaces = _surfaces(masks, data, done)
            rows += _rows(masks, surfaces, store, data, config, setting)
            tables.append(pa.table(_columns(masks, surfaces, setting)))
            notes += done.notes(setting)
            pictures = done.pictures or pictures
    protocol = _protocol(data, config, _size(encoder.volume_trainable(store).crop, config))
    result = make_result("segment", encoder, store, config, rows, protocol, [*data.notes, *notes, *_rare(masks)])
    return result.with_predictions(pa.concat_tables(tables)).with_pictures(pictures)


def _refuse_what_is_for_radiographs(config: SegmentConfig) -> None:
    for name in FOR_RADIOGRAPHS:
        if getattr(config, name) != SegmentConfig.model_fields[name].default:
            option = f"--segment.{name.replace('_', '-')}"
            problem = f"{option} is for radiographs: CT volumes are segmented by masks, and the step is chosen by Dice"
            raise UserError(problem, f"Leave {option} out; what volumes have of their own is --segment.volume.*.")


def _gather(store: VolumeStore, config: EvaluateConfig) -> _Data:
    """Choose rows and findings; rows that say nothing about any of the findings are left out."""
    kept = select_rows(store, config.where)
    rows, partitions, notes = divide_rows(store, kept, config)
    train = kept if config.folds else partitions[0].train
    places = known_places(store, train, rows, config)
    truth = VolumeTruth(places.findings, places.known, places.outlined, store)
    usable = truth.usable(rows)
    if config.folds:
        _, partitions, notes = divide_rows(store, usable, config)
    else:
        partitions = [Partition(*(truth.usable(each) for each in (p.train, p.val, p.test))) for p in partitions]
    if len(rows) > len(usable):
        left_out = f"{len(rows) - len(usable)} of {len(rows)} volumes to score"
        notes = [*notes, f"{left_out} say nothing about any of these findings and are left out."]
    return _Data(truth, usable, partitions, notes)


def _size(crop: VolumeCrop, config: EvaluateConfig) -> Sides:
    """Return the voxels of a crop and of a window."""
    own = config.segment.volume.crop
    return crop.config.shape if own is None else (own, own, own)


def _fit_all(
    encoder: VolumeTrainableEncoder, data: _Data, config: EvaluateConfig, fraction: float, variant: Variant, setting: str
) -> _VolumeFits:
    """Train and score every partition and every draw of one setting; draw pictures of the first fit."""
    done, truth = _VolumeFits(), data.truth
    for part in data.partitions:
        for seed, drawn in draw_partitions(truth.store, part, fraction, config):
            given = encoder.volume_trainable(truth.store)
            volumes = WholeVolumes(given.crop, _size(given.crop, config), config.segment.volume)
            trained = train_volume_segmenter(given, truth, config.segment, volumes, variant, drawn.train, part.val, seed)
            thresholds = trained.on_val.best()[0]
            counts, surfaces = volumes.count(trained.network, truth, part.test, thresholds)
            done.add(trained, truth, drawn.train, (part.test, counts, thresholds))
            done.surfaces.append(surfaces)
            if len(done.fits) == 1:
                how = config.segment.pictures, config.seed, setting
                done.pictures = draw_volume_segments(trained.network, truth, volumes, part.test, thresholds, *how)
    return done


def _surfaces(masks: ScoredMasks, data: _Data, done: _VolumeFits) -> ScoredSurfaces:
    values = np.full(masks.predicted.shape, np.nan)
    for unit, ((rows, _, _), each) in enumerate(zip(done.fits, done.surfaces, strict=True)):
        values[unit, np.searchsorted(data.rows, rows)] = each
    return ScoredSurfaces(masks.patients, masks.findings, values)


def _rows(
    masks: ScoredMasks, surfaces: ScoredSurfaces, store: VolumeStore, data: _Data, config: EvaluateConfig, setting: str
) -> list[ResultRow]:
    how = config.bootstrap, config.seed, setting
    rows = [*strict_rows(masks, *how), *surface_rows(surfaces, *how)]
    for name, places in subgroups(store, data.rows).items():
        rows += strict_rows(masks.take(places), *how, name, metrics=("Dice",))
        rows += surface_rows(surfaces.take(places), *how, name)
    return rows


def _columns(masks: ScoredMasks, surfaces: ScoredSurfaces, setting: str) -> dict[str, Any]:
    """Lay counts and surface Dice out as a long table: one line per unit, volume and finding that is scored."""
    return mask_columns(masks, setting) | {NSD: surfaces.values[np.nonzero(~np.isnan(masks.predicted))]}


def _rare(masks: ScoredMasks) -> Sequence[str]:
    counts = zip(masks.findings, masks.totals()[1].tolist(), strict=False)
    rare = [finding for finding, count in counts if count < FEW]
    return [f"Fewer than {FEW} scored volumes with it, so hardly a number: {', '.join(rare)}."] if rare else []


def _protocol(data: _Data, config: EvaluateConfig, size: Sides) -> dict[str, Any]:
    segment, own = config.segment, config.segment.volume
    return {
        "findings": data.truth.findings,
        "against": config.against,
        "folds": config.folds,
        "fractions": list(config.fraction),
        "draws": config.draws,
        "volumes": "whole, on their stored voxels",
        "truth": "masks",
        "volumes without region and label": segment.unlisted,
        "crop and window": " x ".join(map(str, size)) + " voxels",
        "crops that aim at a finding": own.foreground,
        "sliding windows": f"overlap {own.overlap:g}, logits averaged with a Gaussian",
        "loss": segment.loss,
        "optimiser": f"AdamW, weight decay {segment.weight_decay}, rate {segment.rate}, constant",
        "steps": segment.steps,
        "batch": own.batch,
        "decoder": f"{own.width} channels at the size of the voxels",
        "augmentation": "as in pre-training" if segment.augment else "none",
        "early stopping": f"pooled Dice on validation every {segment.every} steps, patience {segment.patience}",
        "thresholds": "of the highest pooled Dice on validation, per finding",
        "Dice, IoU, NSD": "means over volumes with the finding, 0 where it is missed; volumes without it have none",
        "NSD tolerance, mm": own.tolerance,
        "chance": "predicting every voxel",
    }
