"""Everything a pre-training run depends on; free of torch, because the command line reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field

from lingula.core.config import Config
from lingula.data.augment_config import AugmentConfig
from lingula.data.text.report_augment_config import ReportAugmentConfig
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.methods.registry import CONFIGS
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.text_config import TextEncoderConfig

if TYPE_CHECKING:

    class MethodConfig(Config):
        """The configuration of one of the registered methods."""

        name: str
else:
    MethodConfig = Annotated[Union[tuple(CONFIGS.values())], Field(discriminator="name")]  # noqa: UP007


class DataConfig(Config):
    """What is trained on."""

    store: Path = Path("stores/demo")
    """Folder of the store, made by `lingula data prepare`."""
    image_size: int = Field(default=224, ge=16)
    """Side of the square image that the encoder sees, pixels."""
    sections: tuple[str, ...] | None = None
    """Which sections of the report are used, in this order; all of them where nothing is given."""
    text_view: Literal["report", "sentence", "mixed", "affirmed", "varied"] = "mixed"
    """What a text is in training: the whole report, one sentence, either with equal chance, or what the report affirms,
    without what it denies or calls normal. `varied`, for CT: the report shuffled or cut short as `report_augment` says."""
    report_augment: ReportAugmentConfig = ReportAugmentConfig()
    """How reports are varied, where the text view is `varied`."""
    statements: Path | None = None
    """Short statements of the reports that were made elsewhere (JSON lines), for CT; nothing: they are cut by rules."""
    images_only: Path | None = None
    """Folder of a store of CT volumes whose training part is learned from without text, by masked-image modelling."""
    images_only_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the steps that these volumes get, where there are any; ours."""
    pairing: Literal["all", "frontal", "one-per-epoch"] = "all"
    """Which images of a study meet its report: all, the frontal ones, or one drawn anew in every epoch."""


class OptimisationConfig(Config):
    """Batch, optimiser (AdamW) and learning rate."""

    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps in all; where absent, epochs count, and 1,000 steps where those are absent too."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training samples in all; counts only where steps is absent."""
    batch_size: int = Field(default=128, ge=2)
    """Samples per step, over all processes together."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Samples per process that go through the encoders at once, to save memory; the losses still see the whole batch.

    Batch norms inside the encoders then see one such part of every process at a time, not the whole batch: a smaller part
    changes the course of training of an encoder with batch norms (not of one with layer norms, nor of the heads).
    """
    batch_norm: Literal["global", "local"] = "global"
    """What batch norms of the encoders see: samples of all processes, so that one and many train alike, or of their own."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Decoupled weight decay of matrices and kernels."""
    decay_vectors: bool = False
    """Decay norms, biases and scalars too, as the official M-FLAG code does."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the first and second moment."""
    schedule: Literal["cosine", "constant", "warm-restarts"] = "cosine"
    """Course of the learning rate after the warm-up."""
    warmup: float = Field(default=0.05, ge=0)
    """Linear warm-up: below 1 a share of all steps, from 1 on a number of steps."""
    minimum_learning_rate: float = Field(default=0.0, ge=0)
    """Where the cosine ends."""
    restart_period: float = Field(default=0.4, gt=0)
    """Length of a cycle of `warm-restarts`: below 1 a share of all steps, from 1 on a number of steps."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient over all parameters; larger ones are scaled down."""


DEFAULT_STEPS = 1000


class RuntimeConfig(Config):
    """Where and how it runs; none of this changes what a step means."""

    seed: int = Field(default=0, ge=0)
    """Keys every random draw: weights, order, augmentation, text views, dropout."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Number format of the encoders under autocast; losses are always fp32. `auto`: bf16 where the device has hardware for it,
    else fp32; the run's config.yaml says which it was."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU where there is one."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With several processes: the whole model on each, or a share of parameters, gradients and moments on each (FSDP2)."""
    workers: int = Field(default=0, ge=0)
    """Processes that load images; 0 loads in a thread beside the training."""
    log_every: int = Field(default=20, ge=1)
    """Steps between two entries of the logbook."""
    validate_every: int = Field(default=200, ge=1)
    """Steps between two validations; the last step is always validated."""
    validation_batches: int = Field(default=8, ge=1)
    """Most batches that a validation looks at; always the same samples."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between two checkpoints; the last step always leaves one."""
    keep: int = Field(default=2, ge=1)
    """How many of the latest checkpoints stay, beside the initial and the best one."""


class PretrainConfig(Config):
    """A complete pre-training recipe: method, data, transform, encoders, optimisation, runtime."""

    method: MethodConfig
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    """How radiographs are cropped and varied."""
    crop: VolumeCropConfig = VolumeCropConfig()
    """How CT volumes are cropped and varied; their voxel size is the store's."""
    image_encoder: ImageEncoderConfig = ImageEncoderConfig()
    """The encoder of radiographs; that of CT volumes belongs to the method."""
    text_encoder: TextEncoderConfig = TextEncoderConfig()
    optimisation: OptimisationConfig = OptimisationConfig()
    runtime: RuntimeConfig = RuntimeConfig()
