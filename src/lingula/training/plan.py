"""What a configuration would do, without doing it: shapes, parameters, memory, steps, operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from lingula.core.batch import Batch
from lingula.core.distributed import World, choose_device, world_from_environment
from lingula.core.errors import UserError
from lingula.core.precision import Precision, choose_precision
from lingula.data.loader import TextPlan
from lingula.data.store_table import StoreTable
from lingula.methods.base import Method
from lingula.methods.colipri_config import ColipriMethodConfig
from lingula.methods.language_model import pooled_layers
from lingula.methods.parameters import ParameterReport, parameter_report
from lingula.methods.registry import reads_volumes
from lingula.models.text_encoder import TextEncoder, load_text_encoder
from lingula.models.text_recipes import RECIPES
from lingula.training.assembly import (
    Samples,
    build_method,
    choose_samples,
    count_steps,
    fixed_view,
    needs_text,
    steps_per_pass,
    training_loader,
)
from lingula.training.config import PretrainConfig
from lingula.training.language import distinct_texts, find_text_encoder, small_model_folder, small_model_texts
from lingula.training.report_side import report_plan
from lingula.training.stores import images_only_store, training_store

_ADAM_BYTES = 4 + 8
"""Per trainable parameter: its gradient and AdamW's two moments, fp32."""


PROCESSES = (1, 4, 8)


@dataclass(frozen=True)
class Speed:
    """How fast one process is: measured, or else assumed.

    Args:
        images_per_second: What one process was measured to train; None: not measured.
        peak_tflops: Nominal rate of a GPU, 10¹² operations per second; 312 is bf16 on an A100, from its data sheet.
        utilisation: The share of it that a training is assumed to reach; convolutions at 224 pixels stay far from all of it.
    """

    images_per_second: float | None = None
    peak_tflops: float = 312.0
    utilisation: float = 0.2

    def __post_init__(self) -> None:
        numbers = {"--peak-tflops": self.peak_tflops, "--utilisation": self.utilisation}
        if self.images_per_second is not None:
            numbers["--images-per-second"] = self.images_per_second
        for name, value in numbers.items():
            if not value > 0:
                raise UserError(f"{name} is {value}", "Give a number above 0.")
        if self.utilisation > 1:
            raise UserError(f"--utilisation is {self.utilisation}", "Give a share of the nominal rate, at most 1.")


@dataclass(frozen=True)
class PlanSummary:
    """What `--dry-run` prints.

    Args:
        method: Its name.
        samples: What there is to train on, in words.
        shapes: Name to shape of each tensor that one process sees in one step.
        parameters: Trainable and total, the text encoder's included.
        memory: Bytes per process at the peak of a step: weights, gradients, AdamW's moments, activations.
        steps: Optimiser steps in all.
        epochs: Passes over the training samples in all.
        weights: What the image encoder and the language model start from, in words.
        images: Images of all steps together.
        operations: Floating-point operations of the encoders per image, forward and backward.
        checkpoint: Bytes of one checkpoint: weights, and AdamW's moments.
        checkpoints: How many of them stay.
        cache: Bytes of the cached text features; 0 where texts are encoded in every step.
        speed: Of one process.
    """

    method: str
    samples: str
    shapes: dict[str, tuple[int, ...]]
    parameters: ParameterReport
    memory: int
    steps: int
    epochs: float
    weights: str
    images: int
    operations: int
    checkpoint: int
    checkpoints: int
    cache: int
    speed: Speed

    def hours(self, processes: int) -> float:
        """Hours on so many processes if each is as fast as one alone: the least it can take."""
        rate = self.speed.images_per_second
        if rate is None:
            rate = self.speed.peak_tflops * 1e12 * self.speed.utilisation / self.operations
        return self.images / (rate * processes) / 3600

    def __str__(self) -> str:
        frozen = self.parameters.total - self.parameters.trainable
        uncounted = " (and those of the frozen text encoder)" if self.cache and not frozen else ""
        lines = [f"method      {self.method}", f"samples     {self.samples}", f"weights     {self.weights}"]
        lines += [f"{name:<12}{' x '.join(map(str, shape))}" for name, shape in self.shapes.items()]
        lines += [
            f"parameters  {self.parameters.total:,} in all, {self.parameters.trainable:,} trainable, "
            f"{frozen:,} frozen{uncounted}",
            f"memory      about {self.memory / 2**30:.2f} GiB per process",
            f"steps       {self.steps:,} ({self.epochs:.1f} epochs, {self.images:,} images)",
            f"operations  {self.operations / 1e9:.2f} GFLOP per image, {self.operations * self.images / 1e15:,.2f} PFLOP in all",
            f"disk        {self.checkpoints * self.checkpoint / 2**30:.2f} GiB of checkpoints, "
            f"{self.cache / 2**30:.2f} GiB of text features",
        ]
        times = ", ".join(f"{self.hours(count):.1f} on {count}" for count in PROCESSES)
        if self.speed.images_per_second is not None:
            lines.append(f"hours       at least {times} GPUs, at {self.speed.images_per_second:,.0f} images/s each")
        else:
            assumed = f"{self.speed.peak_tflops:g} TFLOP/s at {self.speed.utilisation:.0%} utilisation"
            lines.append(f"hours       not measured; estimate: {times} GPUs, if each gives {assumed}.")
            lines.append("            Measure one (benchmarks/training_step.py), then give --images-per-second.")
        return "\n".join(lines)


def describe_plan(config: PretrainConfig, pairs: int | None = None, speed: Speed | None = None) -> PlanSummary:
    """Build everything a training needs, count what two samples take, and say what a step would.

    Args:
        config: What would be trained.
        pairs: Plan for so many training samples without a store and without any weights; None: for the store's own.
        speed: What one process does, measured or assumed; None: assumed.

    Raises:
        UserError: The store, the weights or the configuration do not fit, as in the training itself.
    """
    choose_device(config.runtime.device)
    speed = speed or Speed()
    return _plan_of_store(config, speed) if pairs is None else _plan_of_size(config, pairs, speed)


def _plan_of_store(config: PretrainConfig, speed: Speed) -> PlanSummary:
    store = training_store(config)
    images_only_store(config, store)
    samples = choose_samples(config, store)
    encoder, dimension, text_parameters = _text_side(config, store, samples)
    method = build_method(_without_opposites(config), encoder, dimension, samples.findings)
    batch = _batch(config, store, samples, encoder, dimension, world_from_environment())
    frozen = text_parameters if encoder is None or config.text_encoder.frozen else 0
    texts = 0
    if dimension is not None and config.text_encoder.frozen:
        rows = np.concatenate([samples.train, samples.validation])
        texts = len(distinct_texts(store, rows, config.data.sections, fixed_view(config)))
    per_epoch = steps_per_pass(config, samples)
    return _summary(config, method, batch, parameter_report(method, frozen), samples.summary, per_epoch, texts, speed)


def _without_opposites(config: PretrainConfig) -> PretrainConfig:
    """Leave COLIPRI's short statements out: they have no weights of their own, and how many there are depends on the batch."""
    if not isinstance(config.method, ColipriMethodConfig):
        return config
    return config.model_copy(update={"method": config.method.model_copy(update={"opposite_weight": 0.0})})


def _plan_of_size(config: PretrainConfig, pairs: int, speed: Speed) -> PlanSummary:
    """Plan without data: sizes of published language models are known, their weights are not needed.

    Raises:
        UserError: There are fewer samples than a batch, or the text encoder's size is not known without its files.
    """
    size = config.optimisation.batch_size
    if pairs < size:
        raise UserError(f"{pairs} samples do not fill a batch of {size}", "Give more --pairs, or a smaller batch.")
    bare = config.model_copy(update={"image_encoder": config.image_encoder.model_copy(update={"weights": "none"})})
    text = config.text_encoder
    dimension = None
    if needs_text(config.method):
        dimension = _known_dimension(config)
    if dimension is not None and not text.frozen:
        raise UserError("a trained text encoder cannot be planned without its files", "Give --store instead of --pairs.")
    method = build_method(bare, None, dimension, ["finding"])
    images = torch.zeros(min(size, 2), 1, config.data.image_size, config.data.image_size)
    features = None if dimension is None else torch.zeros(len(images), dimension)
    batch = Batch([""] * len(images), images, text_features=features)
    said = f"{pairs:,} samples, as given: no store was looked at, each text counted once"
    texts = pairs if dimension is not None else 0
    return _summary(config, method, batch, parameter_report(method), said, pairs // size, texts, speed)


def _known_dimension(config: PretrainConfig) -> int:
    text = config.text_encoder
    if text.name == "small":
        return len(pooled_layers(text.small)) * text.small.width
    if text.name in RECIPES:
        return RECIPES[text.name].dimension
    raise UserError(f"the size of the text encoder {text.name} is not known", "Give --store, or a named text encoder.")


def _summary(
    config: PretrainConfig,
    method: Method,
    batch: Batch,
    report: ParameterReport,
    samples: str,
    steps_per_epoch: float,
    texts: int,
    speed: Speed,
) -> PlanSummary:
    """Put sizes together; memory and speed are of one process."""
    share = config.optimisation.batch_size // world_from_environment().size
    at_once = min(config.optimisation.micro_batch_size or share, share)
    own = parameter_report(method)
    steps = count_steps(config.optimisation, steps_per_epoch)
    features = 0 if batch.text_features is None else batch.text_features.shape[1]
    whole = {name: (share, *shape[1:]) for name, shape in _shapes(batch).items()}
    return PlanSummary(
        method=config.method.name,
        samples=samples,
        shapes=whole,
        parameters=report,
        memory=4 * own.total
        + _ADAM_BYTES * report.trainable
        + at_once * _activation_bytes(method, batch[:2], config.runtime.precision) // 2,
        steps=steps,
        epochs=steps / steps_per_epoch,
        weights=_starting_weights(config),
        images=steps * config.optimisation.batch_size,
        operations=_operations(method, batch[:2]),
        checkpoint=4 * own.total + 8 * report.trainable,
        checkpoints=config.runtime.keep + 2,
        cache=4 * texts * features,
        speed=speed,
    )


def _starting_weights(config: PretrainConfig) -> str:
    """Say what both encoders start from."""
    image, text = config.image_encoder, config.text_encoder
    said = "volume encoder: none" if reads_volumes(config.method) else f"image encoder {image.name}: {image.weights}"
    if not needs_text(config.method):
        return said
    return f"{said}; text encoder: {text.name}" + ("" if text.revision is None else f" at {text.revision}")


def _text_side(config: PretrainConfig, store: StoreTable, samples: Samples) -> tuple[TextEncoder | None, int | None, int]:
    """Return encoder, number of its features and of its parameters; the small model is trained only where it is a part."""
    if not needs_text(config.method):
        return None, None, 0
    settings = config.text_encoder
    if not settings.frozen:
        encoder = find_text_encoder(config, store, samples.train)
        return encoder, encoder.dimension, parameter_report(encoder).total
    if settings.name == "small":
        folder = small_model_folder(config, store, small_model_texts(config, store, samples.train))
        if not folder.is_dir():
            return None, len(pooled_layers(settings.small)) * settings.small.width, _small_model_parameters(config)
        settings = settings.model_copy(update={"name": str(folder)})
    encoder = load_text_encoder(settings)
    return encoder, encoder.dimension, parameter_report(encoder).total


def _small_model_parameters(config: PretrainConfig) -> int:
    """Count embeddings and layers of the small model that is yet to be trained (BERT's layout, without pooler)."""
    small = config.text_encoder.small
    width = small.width
    per_layer = 12 * width * width + 13 * width
    return (small.vocabulary + small.max_tokens + 2 + 2) * width + small.layers * per_layer


def _batch(
    config: PretrainConfig, store: StoreTable, samples: Samples, encoder: TextEncoder | None, dimension: int | None, world: World
) -> Batch:
    """Load one process's first batch, with made-up text features where the frozen encoder has not run yet."""
    text = None
    if dimension is not None:
        tokenise = encoder.tokenise if encoder is not None and not config.text_encoder.frozen else None
        lookup = None if tokenise else lambda texts: torch.zeros(len(texts), dimension)
        reports = report_plan(config, store, samples.train, samples.validation, encoder) if encoder is not None else None
        text = TextPlan(fixed_view(config), config.data.sections, lookup, tokenise, reports)
    return training_loader(config, store, samples, text, world, pin=False).batch(0).batch


def _shapes(batch: Batch) -> dict[str, tuple[int, ...]]:
    tokens = None if batch.tokens is None else batch.tokens.ids
    tensors = {"images": batch.images, "texts": batch.text_features, "tokens": tokens, "labels": batch.labels}
    return {name: tuple(value.shape) for name, value in tensors.items() if value is not None}


def _operations(method: Method, batch: Batch) -> int:
    """Count what the encoders do for a batch, forward and backward, per image; heads and losses are small beside it.

    Tensors are of the right shapes and without values, so that a large model takes neither time nor memory.
    """
    counter = FlopCounterMode(display=False)
    with FakeTensorMode(allow_non_fake_inputs=True), counter:
        parts = [part for part in _tensors(vars(method.train().encode(batch))) if part.requires_grad]
        torch.stack([part.float().sum() for part in parts]).sum().backward()  # type: ignore[no-untyped-call]
    method.zero_grad(set_to_none=True)
    return int(counter.get_total_flops()) // len(batch.study_ids)


def _tensors(values: Mapping[str, object]) -> list[Tensor]:
    """Every tensor of nested values."""
    nested = [_tensors(value) if isinstance(value, Mapping) else [value] for value in values.values()]
    return [value for part in nested for value in part if isinstance(value, Tensor)]


def _activation_bytes(method: Method, batch: Batch, precision: Precision | Literal["auto"]) -> int:
    """Count what the encoders keep for the backward pass of a batch; of a cut of a larger one, its own rows only."""
    batch = batch if batch.images is None else replace(batch, images=batch.images.clone())
    kept: dict[StorageWeakRef, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[StorageWeakRef(storage)] = storage.nbytes()  # type: ignore[no-untyped-call]
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16, enabled=choose_precision(precision, torch.device("cpu")) != "fp32")
    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True), hooks, autocast:
        alive = method.train().encode(batch)
    del alive
    return sum(kept.values())
