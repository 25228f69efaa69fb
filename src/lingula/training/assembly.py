"""From a configuration to the parts of a training: samples, batches, method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from lingula.core.batch import Batch
from lingula.core.config import Config
from lingula.core.distributed import World
from lingula.core.errors import UserError
from lingula.core.randomness import random_key
from lingula.core.types import RowNumbers
from lingula.data.augment import ImageTransform
from lingula.data.loader import BatchBuilder, SampleTransform, TextPlan, TrainingLoader
from lingula.data.mixed_loader import MixedLoader
from lingula.data.samples import BatchOrder, describe_pairs, fixed_batches, labelled_rows, paired_rows
from lingula.data.store_table import StoreTable
from lingula.data.text.views import TextView
from lingula.data.volume_store import VolumeStore
from lingula.methods.base import Method
from lingula.methods.colipri_config import ColipriMethodConfig
from lingula.methods.registry import build
from lingula.methods.supervised_config import SupervisedConfig
from lingula.models.text_encoder import TextEncoder
from lingula.training.config import DEFAULT_STEPS, OptimisationConfig, PretrainConfig
from lingula.training.stores import images_only_order, volume_crop


@dataclass(frozen=True)
class Samples:
    """What a run trains and validates on.

    Args:
        train: Rows of the training samples.
        validation: Rows of the validation samples.
        findings: Labels in use; empty for a method that trains on text.
        order: Order of the training samples.
        summary: One line for the user.
    """

    train: RowNumbers
    validation: RowNumbers
    findings: list[str]
    order: BatchOrder
    summary: str


def needs_text(method: Config) -> bool:
    """Whether a method trains on image-text pairs (else on images with labels)."""
    return not isinstance(method, SupervisedConfig)


def choose_samples(config: PretrainConfig, store: StoreTable) -> Samples:
    """Choose pairs, or labelled images for a method without text.

    Raises:
        UserError: There are none, or fewer than a batch needs.
    """
    data, seed, batch_size = config.data, config.runtime.seed, config.optimisation.batch_size
    if isinstance(config.method, SupervisedConfig):
        return _labelled_samples(config, store, list(config.method.findings or store.findings))
    train, validation = (paired_rows(store, split, data.sections, data.pairing) for split in ("train", "val"))
    summary = describe_pairs(store, data.sections, len(train))
    if not len(train):
        problem = f"store {store.path} has no training pair of image and text ({summary})"
        raise UserError(
            problem, "Prepare it with a text column, check --data.sections and --data.pairing, or train `supervised` on labels."
        )
    studies = [store.column("study_id")[row] for row in train] if data.pairing == "one-per-epoch" else None
    return Samples(train, validation, [], BatchOrder(train, batch_size, seed, studies), summary)


def _labelled_samples(config: PretrainConfig, store: StoreTable, findings: list[str]) -> Samples:
    if not findings:
        raise UserError(f"store {store.path} has no labels, which {config.method.name} trains on", "Prepare it with labels.")
    train, validation = (labelled_rows(store, split, findings) for split in ("train", "val"))
    summary = f"{len(train):,} of {len(store):,} images are for training and have labels ({len(findings)} findings)"
    what = "labelled training images"
    order = BatchOrder(train, config.optimisation.batch_size, config.runtime.seed, what=what)
    return Samples(train, validation, findings, order, summary)


def build_method(
    config: PretrainConfig, text_encoder: TextEncoder | None, text_dimension: int | None, findings: list[str]
) -> Method:
    """Build the method with weights keyed by the seed; a frozen text encoder stays outside.

    Args:
        config: Method and image encoder.
        text_encoder: What turns reports into features; None for a method without text.
        text_dimension: Its number of features.
        findings: Labels in use.
    """
    trained = text_encoder if text_encoder is not None and not config.text_encoder.frozen else None
    torch.manual_seed(random_key(config.runtime.seed, "weights"))
    return build(config.method, config.image_encoder, trained, text_dimension, findings, config.data.image_size)


def count_steps(config: OptimisationConfig, steps_per_epoch: float) -> int:
    """Return the optimiser steps of a run."""
    if config.steps is not None:
        return config.steps
    return max(round(config.epochs * steps_per_epoch), 1) if config.epochs is not None else DEFAULT_STEPS


def steps_per_pass(config: PretrainConfig, samples: Samples) -> float:
    """Return the steps in which all samples come once; those of images alone are counted in."""
    share = 0.0 if config.data.images_only is None else config.data.images_only_share
    return samples.order.steps_per_epoch / (1 - share)


def fixed_view(config: PretrainConfig) -> TextView:
    """Return the view of a report that is not varied: where it is, variants are made of the whole."""
    return "report" if config.data.text_view == "varied" else config.data.text_view


def sample_transform(config: PretrainConfig) -> SampleTransform:
    """Return what makes a sample of a stored image: of a radiograph, or of a CT volume."""
    if isinstance(config.method, ColipriMethodConfig):
        return volume_crop(config, config.method)
    return ImageTransform(config.augment, config.data.image_size)


def training_loader(
    config: PretrainConfig,
    store: StoreTable,
    samples: Samples,
    text: TextPlan | None,
    world: World,
    pin: bool,
    images_only: VolumeStore | None = None,
) -> TrainingLoader:
    """Make this process's loader.

    Args:
        config: Transform, batch, workers, share of images alone.
        store: Where the samples are.
        samples: Which they are.
        text: How texts are given.
        world: This process's place among all.
        pin: Whether a GPU will fetch the batches.
        images_only: Volumes that are learned from without text.

    Raises:
        UserError: There are fewer of these volumes than a batch needs.
    """
    transform, seed, workers = sample_transform(config), config.runtime.seed, config.runtime.workers
    loader = TrainingLoader(BatchBuilder(store, transform, seed, text, samples.findings), samples.order, world, workers, pin)
    if images_only is None:
        return loader
    order = images_only_order(config, images_only)
    alone = TrainingLoader(BatchBuilder(images_only, transform, seed), order, world, workers, pin)
    return MixedLoader(loader, alone, config.data.images_only_share)


def validation_batches(
    config: PretrainConfig, store: StoreTable, samples: Samples, text: TextPlan | None
) -> list[Callable[[], Batch]]:
    """Return functions that make the validation batches: not augmented, always the same samples and texts."""
    builder = BatchBuilder(store, sample_transform(config), config.runtime.seed, text, samples.findings, augment=False)
    size, most = config.optimisation.batch_size, config.runtime.validation_batches
    return [partial(builder, rows, 0) for rows in fixed_batches(samples.validation, size, most, config.runtime.seed)]
