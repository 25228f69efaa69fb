"""Pre-training from a configuration to a run folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from lingula.core.checkpoint import WEIGHTS, load_weights
from lingula.core.config import Config
from lingula.core.distributed import (
    World,
    choose_device,
    main_process_first,
    process_group,
    wait_for_all,
    world_from_environment,
)
from lingula.core.errors import UserError
from lingula.core.files import atomic_folder, write_json
from lingula.core.precision import choose_precision
from lingula.data.loader import TextPlan
from lingula.data.reading import Reading
from lingula.data.store import Store
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore
from lingula.methods.base import Method
from lingula.methods.parameters import parameter_report
from lingula.models.text_encoder import TextEncoder
from lingula.training.assembly import (
    Samples,
    build_method,
    choose_samples,
    count_steps,
    fixed_view,
    needs_text,
    steps_per_pass,
    training_loader,
    validation_batches,
)
from lingula.training.config import PretrainConfig
from lingula.training.environment import describe_environment
from lingula.training.language import cache_texts, distinct_texts, find_text_encoder
from lingula.training.loop import Trainer, Validation, Validator
from lingula.training.plan import PlanSummary, describe_plan
from lingula.training.report_side import report_plan
from lingula.training.run import CONFIG, ENVIRONMENT, LANGUAGE_MODEL, Run
from lingula.training.stores import images_only_store, training_store

__all__ = ["PlanSummary", "describe_plan", "pretrain"]

_MAY_CHANGE = {"device", "workers", "log_every", "validate_every", "validation_batches", "checkpoint_every", "keep"}
"""Runtime settings that a resumed run may have different."""


def pretrain(
    config: PretrainConfig,
    run: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    init_from: Path | None = None,
    text_encoder: TextEncoder | None = None,
    validators: Sequence[Validator] = (),
) -> Path:
    """Train and leave a self-contained run folder.

    Args:
        config: Everything the run depends on.
        run: The folder to make.
        overwrite: Replace an existing run.
        resume: Go on with an existing run, exactly as if it had not been interrupted.
        init_from: Run folder, checkpoint folder or weights file to start from.
        text_encoder: Use this one instead of finding the configured one.
        validators: Further measurements at every validation.

    Returns:
        The run folder.

    Raises:
        UserError: The run exists, the store or the configuration does not fit, or the loss is not finite.
        KeyboardInterrupt: Interrupted; a checkpoint to go on from is in the run folder.
    """
    world = world_from_environment()
    _check_request(overwrite, resume, init_from)
    device = choose_device(config.runtime.device, world)
    config = _with_precision(config, device, run if resume else None)
    _check_shares(config, world)
    if resume:
        _check_same(Run(run), config)
    store = training_store(config)
    images_only = images_only_store(config, store)
    _check_folder(run, store, images_only, overwrite, resume)
    samples = choose_samples(config, store)
    _say(samples.summary, world)
    if not len(samples.validation):
        _say("no image is for validation: there will be no best checkpoint, the last one stands for it", world)
    with process_group(world, device):
        if text_encoder is None and needs_text(config.method):
            text_encoder = _text_encoder(config, store, samples, run, resume, world)
        dimension = text_encoder.dimension if text_encoder is not None else None
        method = build_method(config, text_encoder, dimension, samples.findings)
        if images_only is not None:
            _say(f"beside them {len(images_only.rows('train')):,} volumes of {images_only.path} without text", world)
        if init_from is not None:
            load_weights(_weights_file(init_from), method)
        if world.is_main and not resume:
            _write_folder(run, config, (store, images_only), samples, method, text_encoder, init_from, device, world)
        wait_for_all()
        text = text_plan(config, store, samples, text_encoder, run, device, world)
        loader = training_loader(config, store, samples, text, world, device.type == "cuda", images_only)
        steps = count_steps(config.optimisation, steps_per_pass(config, samples))
        validation = Validation(validation_batches(config, store, samples, text), validators)
        trainer = Trainer(method, loader, steps, config.optimisation, config.runtime, run, device, world, validation)
        if resume:
            trainer.restore(Run(run).checkpoints.steps()[-1])
            _say(f"going on after step {trainer.done} of {steps}", world)
        trainer.run()
    return run


def _check_request(overwrite: bool, resume: bool, init_from: Path | None) -> None:
    """Refuse what contradicts itself: --resume continues a training, --init-from begins one from other weights."""
    if resume and init_from is not None:
        problem = "--resume and --init-from exclude each other: one goes on with a run, the other begins a new one"
        raise UserError(problem, "Give one of them; a resumed run keeps the weights it was begun with.")
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other", "Give --resume to go on, --overwrite to begin anew.")


def _weights_file(path: Path) -> Path:
    """Find the weights in a run folder (its best ones), in a checkpoint folder, or take the file itself."""
    if not path.is_dir():
        return path
    return path / WEIGHTS if (path / WEIGHTS).is_file() else Run(path).weights()


def _with_precision(config: PretrainConfig, device: torch.device, resumed: Path | None) -> PretrainConfig:
    """Settle what `auto` means: what the device is fast in, or what a resumed run was begun with."""
    precision = config.runtime.precision
    if precision == "auto" and resumed is not None and resumed.is_dir():
        precision = Run(resumed).config.runtime.precision
    precision = choose_precision(precision, device)
    if precision == "fp16" and device.type == "cpu":
        raise UserError("fp16 needs a GPU", "Give --runtime.precision bf16 or fp32.")
    if precision == "fp16" and config.runtime.parallel == "fsdp":
        raise UserError("fp16 does not go with --runtime.parallel fsdp", "Give --runtime.precision bf16.")
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"precision": precision})})


def _check_shares(config: PretrainConfig, world: World) -> None:
    if config.optimisation.batch_size % world.size:
        problem = f"a batch of {config.optimisation.batch_size} cannot be shared evenly by {world.size} processes"
        raise UserError(problem, "Give a --optimisation.batch-size that is a multiple of the number of processes.")


def _check_folder(run: Path, store: StoreTable, images_only: VolumeStore | None, overwrite: bool, resume: bool) -> None:
    """Refuse to touch a folder that must not be touched; nothing is changed here."""
    if resume:
        _check_stores(Run(run), store, images_only)
    elif run.exists() and (not run.is_dir() or any(run.iterdir())):
        if not (run / CONFIG).is_file():
            raise UserError(f"{run} exists and is not a run", "Choose another --run folder.")
        if not overwrite and Run(run).checkpoints.steps():
            raise UserError(
                f"run {run} exists already", "Choose another --run, go on with --resume, or replace it with --overwrite."
            )


def _check_same(run: Run, config: PretrainConfig) -> None:
    """Refuse to go on with another configuration than the run's, but for where stores lie and what the steps do not depend on."""
    if not run.checkpoints.steps():
        raise UserError(f"run {run.path} has no checkpoint to go on from", "Give the same command without --resume.")
    before, now = _flat(run.config.model_dump(mode="json")), _flat(config.model_dump(mode="json"))
    free = {f"runtime.{name}" for name in _MAY_CHANGE} | {"data.store"}
    if config.data.images_only is not None and run.config.data.images_only is not None:
        free |= {"data.images_only"}
    changed = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key) and key not in free]
    if changed:
        key = sorted(changed)[0]
        problem = f"--resume with another {key} ({now.get(key)}; the run has {before.get(key)})"
        raise UserError(problem, f"Give the run's own configuration: --config {run.path / CONFIG}.")


def _check_stores(run: Run, store: StoreTable, images_only: VolumeStore | None) -> None:
    """Refuse to go on with other data than the run's."""
    if run.environment["store"]["fingerprint"] != store.fingerprint:
        raise UserError(f"store {store.path} is not the one that {run.path} was trained on", "Give the same store to --resume.")
    known = run.environment["store"].get("images_only")
    if images_only is not None and known is not None and known != images_only.fingerprint:
        problem = f"store {images_only.path} is not the one of images alone that {run.path} was trained on"
        raise UserError(problem, "Give the same --images-only to --resume.")


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _text_encoder(
    config: PretrainConfig, store: StoreTable, samples: Samples, run: Path, resume: bool, world: World
) -> TextEncoder:
    """Find the text encoder; a resumed run uses its own copy."""
    saved = Run(run).saved_text_encoder() if resume else None
    if saved is not None:
        return saved
    with main_process_first(world):
        return find_text_encoder(config, store, samples.train)


def text_plan(
    config: PretrainConfig,
    store: StoreTable,
    samples: Samples,
    encoder: TextEncoder | None,
    run: Path,
    device: torch.device,
    world: World,
) -> TextPlan | None:
    """Decide how texts reach the method: as cached features, or as tokens for a text encoder that is trained."""
    if encoder is None:
        return None
    view, sections = fixed_view(config), config.data.sections
    if not config.text_encoder.frozen:
        reports = report_plan(config, store, samples.train, samples.validation, encoder)
        return TextPlan(view, sections, tokenise=encoder.tokenise, reports=reports)
    rows = np.concatenate([samples.train, samples.validation])
    with main_process_first(world):
        cache = cache_texts(encoder, store, run, distinct_texts(store, rows, sections, view), device)
    return TextPlan(view, sections, lookup=cache.lookup)


def _write_folder(
    run: Path,
    config: PretrainConfig,
    stores: tuple[Store | VolumeStore, VolumeStore | None],
    samples: Samples,
    method: Method,
    encoder: TextEncoder | None,
    init_from: Path | None,
    device: torch.device,
    world: World,
) -> None:
    """Write everything but checkpoints and logbook, all or nothing; an older run in the folder goes now, not before."""
    store, images_only = stores
    frozen = parameter_report(encoder).total if encoder is not None and config.text_encoder.frozen else 0
    parameters = parameter_report(method, frozen)
    environment = describe_environment(device, world.size) | {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "starting_weights": {
            "image_encoder": "none" if isinstance(store, VolumeStore) else config.image_encoder.weights,
            "text_encoder": None if encoder is None else config.text_encoder.name,
            "init_from": None if init_from is None else str(init_from),
        },
        "parameters": {"total": parameters.total, "trainable": parameters.trainable},
        "store": {"path": str(store.path), "name": store.name, "fingerprint": store.fingerprint}
        | ({} if images_only is None else {"images_only": images_only.fingerprint}),
        "reading": _reading(store).model_dump(mode="json"),
        "samples": {"train": len(samples.train), "validation": len(samples.validation), "summary": samples.summary},
        "text_dimension": None if encoder is None else encoder.dimension,
        "text_fingerprint": None if encoder is None else encoder.fingerprint(),
        "findings": samples.findings,
    }
    for leftover in run.parent.glob(f".{run.name}.*.partial"):
        shutil.rmtree(leftover)
    if run.exists():
        shutil.rmtree(run)
    with atomic_folder(run) as folder:
        if encoder is not None:
            encoder.save(folder / LANGUAGE_MODEL)
        write_json(folder / ENVIRONMENT, environment)
        config.to_yaml(folder / CONFIG)


def _reading(store: Store | VolumeStore) -> Config:
    """What was done to an image before it was stored, so that a trained model does the same to a new one."""
    return store.storing if isinstance(store, VolumeStore) else Reading.of_store(store.about["settings"])


def _say(text: str, world: World) -> None:
    if world.is_main:
        print(text, file=sys.stderr)
