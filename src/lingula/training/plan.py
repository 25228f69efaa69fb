"""What a configuration would do, without doing it: shapes, parameters, memory, steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lingula.core.batch import Batch
from lingula.core.distributed import World, choose_device, world_from_environment
from lingula.data.loader import TextPlan
from lingula.data.store import Store
from lingula.methods.base import Method
from lingula.methods.language_model import pooled_layers
from lingula.methods.parameters import ParameterReport, parameter_report
from lingula.models.text_encoder import TextEncoder, load_text_encoder
from lingula.training.assembly import Samples, build_method, choose_samples, count_steps, needs_text, training_loader
from lingula.training.config import PretrainConfig
from lingula.training.language import small_model_folder, small_model_texts

_ADAM_BYTES = 4 + 8
"""Per trainable parameter: its gradient and AdamW's two moments, fp32."""


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
    """

    method: str
    samples: str
    shapes: dict[str, tuple[int, ...]]
    parameters: ParameterReport
    memory: int
    steps: int
    epochs: float
    weights: str

    def __str__(self) -> str:
        frozen = self.parameters.total - self.parameters.trainable
        lines = [f"method      {self.method}", f"samples     {self.samples}", f"weights     {self.weights}"]
        lines += [f"{name:<12}{' x '.join(map(str, shape))}" for name, shape in self.shapes.items()]
        lines += [
            f"parameters  {self.parameters.total:,} in all, {self.parameters.trainable:,} trainable, {frozen:,} frozen",
            f"memory      about {self.memory / 2**30:.2f} GiB per process",
            f"steps       {self.steps:,} ({self.epochs:.1f} epochs)",
        ]
        return "\n".join(lines)


def describe_plan(config: PretrainConfig) -> PlanSummary:
    """Build everything a training needs, run two samples through it, and say what a step would take.

    Raises:
        UserError: The store, the weights or the configuration do not fit, as in the training itself.
    """
    world = world_from_environment()
    choose_device(config.runtime.device)
    store = Store.open(config.data.store)
    samples = choose_samples(config, store)
    encoder, dimension, text_parameters = _text_side(config, store, samples)
    method = build_method(config, encoder, dimension, samples.findings)
    batch = _batch(config, store, samples, encoder, dimension, world)
    frozen_outside = text_parameters if encoder is None or config.text_encoder.frozen else 0
    report = parameter_report(method, frozen_outside)
    at_once = min(config.optimisation.micro_batch_size or len(batch), len(batch))
    weights = 4 * parameter_report(method).total + _ADAM_BYTES * report.trainable
    steps = count_steps(config.optimisation, samples.order.steps_per_epoch)
    return PlanSummary(
        method=config.method.name,
        samples=samples.summary,
        shapes=_shapes(batch),
        parameters=report,
        memory=weights + at_once * _activation_bytes(method, batch[:2], config.runtime.precision) // 2,
        steps=steps,
        epochs=steps / samples.order.steps_per_epoch,
        weights=_starting_weights(config),
    )


def _starting_weights(config: PretrainConfig) -> str:
    """Say what both encoders start from."""
    image, text = config.image_encoder, config.text_encoder
    said = f"image encoder {image.name}: {image.weights}"
    if not needs_text(config.method):
        return said
    return f"{said}; text encoder: {text.name}" + ("" if text.revision is None else f" at {text.revision}")


def _text_side(config: PretrainConfig, store: Store, samples: Samples) -> tuple[TextEncoder | None, int | None, int]:
    """Return encoder, number of its features and of its parameters; the small model is not trained for this."""
    if not needs_text(config.method):
        return None, None, 0
    settings = config.text_encoder
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
    config: PretrainConfig, store: Store, samples: Samples, encoder: TextEncoder | None, dimension: int | None, world: World
) -> Batch:
    """Load one process's first batch, with made-up text features where the frozen encoder has not run yet."""
    text = None
    if dimension is not None:
        tokenise = encoder.tokenise if encoder is not None and not config.text_encoder.frozen else None
        lookup = None if tokenise else lambda texts: torch.zeros(len(texts), dimension)
        text = TextPlan(config.data.text_view, config.data.sections, lookup, tokenise)
    return training_loader(config, store, samples, text, world, pin=False).batch(0).batch


def _shapes(batch: Batch) -> dict[str, tuple[int, ...]]:
    tokens = None if batch.tokens is None else batch.tokens.ids
    tensors = {"images": batch.images, "texts": batch.text_features, "tokens": tokens, "labels": batch.labels}
    return {name: tuple(value.shape) for name, value in tensors.items() if value is not None}


def _activation_bytes(method: Method, batch: Batch, precision: str) -> int:
    """Measure what the encoders keep for the backward pass of a batch."""
    own = {parameter.untyped_storage().data_ptr() for parameter in method.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), autocast:
        alive = method.train().encode(batch)
    del alive
    return sum(kept.values())
