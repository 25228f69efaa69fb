"""Model files: weights in safetensors, training state beside them, whole folders or none."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.core.files import atomic_file, atomic_folder, read_json, share, write_json

FORMAT, VERSION = "lingula", 1
"""Key of our metadata in a weights file, and the version of the layout of weights files and checkpoints."""
WEIGHTS, TRAINING_STATE, SUMMARY = "weights.safetensors", "training_state.pt", "checkpoint.json"
_BEST = "best.json"
STEADIER = "a lower --optimisation.learning-rate or --runtime.precision fp32"
"""What to change after numbers that are not finite."""


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, object]) -> None:
    """Write tensors as one safetensors file, atomically.

    Args:
        path: The file.
        weights: Name to tensor; a state dict, for instance.
        metadata: Plain values, written into the file's header as one JSON text (several keys would have no fixed order).
    """
    write_tensors(path, weights, {FORMAT: json.dumps({"version": VERSION, **metadata})})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: dict[str, str]) -> None:
    """Write tensors and a header as one safetensors file, atomically, for whoever may read other new files."""
    copies = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    with atomic_file(path) as temporary:
        save_file(copies, temporary, header)
        share(temporary)


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a weights file.

    Raises:
        UserError: It is not a safetensors file, not one of ours, or of a newer version.
    """
    _check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise _not_a_model_file(path, str(error)) from None
    if FORMAT not in found:
        raise _not_a_model_file(path, "it was not written by lingula")
    try:
        metadata = json.loads(found[FORMAT])
    except ValueError as error:
        raise _not_a_model_file(path, f"its metadata is not JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise _not_a_model_file(path, "its metadata is not a mapping")
    _check_version(path, metadata)
    return metadata


def read_weights(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read a weights file whose tensors have exactly the names and shapes of others.

    Args:
        path: The file.
        wanted: The state dict of the module that it must fit.

    Raises:
        UserError: It is missing, a pickle, broken, of a newer version, does not fit, or holds numbers that are not finite.
    """
    read_metadata(path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise _not_a_model_file(path, str(error)) from None
    _check_fit(path, tensors, wanted)
    if bad := names_of_non_finite(tensors):
        raise UserError(f"{path} holds numbers that are not finite (first: {bad[0]})", "Give an earlier checkpoint.")
    return tensors


def load_weights(path: Path, module: nn.Module) -> None:
    """Load a weights file into a module of exactly that shape.

    Raises:
        UserError: As in `read_weights`; the module is then unchanged.
    """
    module.load_state_dict(read_weights(path, module.state_dict()))


def convert_pickle(path: Path, target: Path) -> int:
    """Write the tensors of a pickled checkpoint as a weights file; see `read_pickled_tensors`.

    Returns:
        How many tensors there are.

    Raises:
        UserError: It is no pickle, holds more than tensors and plain values, or no tensors; the target exists.
    """
    if target.exists():
        raise UserError(f"{target} exists already", "Choose another name.")
    tensors = read_pickled_tensors(path)
    save_weights(target, tensors, {"converted_from": path.name})
    return len(tensors)


def read_pickled_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a pickled checkpoint; nothing in the pickle can run code.

    It may lie in the pickle itself or under its key `state_dict`, `model_state_dict`, `model` or `weights`.

    Raises:
        UserError: It is no pickle, holds more than tensors and plain values, or no tensors.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}", "Check the path.")
    found = _load_without_code(path)
    for key in ("state_dict", "model_state_dict", "model", "weights"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)} if isinstance(found, Mapping) else {}
    if not tensors:
        raise UserError(f"{path} holds no state dict", "Save one with torch.save(model.state_dict(), ...).")
    return {str(name): value for name, value in tensors.items()}


def names_of_non_finite(values: Any, name: str = "") -> list[str]:
    """List the tensors, in nested mappings and lists, that hold a number that is not finite."""
    if isinstance(values, Tensor):
        return [name] if values.is_floating_point() and not bool(values.isfinite().all()) else []
    if isinstance(values, Mapping):
        return [bad for key, value in values.items() for bad in names_of_non_finite(value, f"{name}.{key}" if name else str(key))]
    if isinstance(values, list | tuple):
        return [bad for number, value in enumerate(values) for bad in names_of_non_finite(value, f"{name}.{number}")]
    return []


def _load_without_code(path: Path, device: torch.device | None = None) -> Any:
    """Unpickle tensors and plain values."""
    try:
        return torch.load(path, map_location=device or "cpu", weights_only=True)
    except pickle.UnpicklingError:
        remedy = "Nothing of it was run; ask its author for safetensors."
        raise UserError(f"{path} holds more than tensors and plain values, or is no pickle", remedy) from None
    except Exception as error:  # damaged bytes make torch's reader raise anything
        remedy = "It is cut short or damaged, or no PyTorch checkpoint at all."
        raise UserError(f"{path} cannot be read ({_first_line(error)})", remedy) from None


def _first_line(error: Exception) -> str:
    """What an error says; a single word (a number of an opcode, a key) says nothing without the error's name."""
    said = (str(error).strip().splitlines() or [""])[0]
    return said if " " in said else f"{type(error).__name__} {said}".strip()


def _check_version(path: Path, values: Mapping[str, Any]) -> None:
    version = values.get("version", VERSION)
    if not isinstance(version, int) or version > VERSION:
        problem = f"{path} was written by a newer lingula (layout {version}; this one reads {VERSION})"
        raise UserError(problem, "Update lingula.")


def _check_fit(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing, unknown = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    remedy = "Load it with the configuration it was trained with (config.yaml of its run)."
    if missing or unknown:
        parts = [
            f"{len(names)} {kind} (first: {names[0]})" for kind, names in [("missing", missing), ("unknown", unknown)] if names
        ]
        raise UserError(f"{path} does not fit this model: {' and '.join(parts)} tensors", remedy)
    for name, value in tensors.items():
        if value.shape != wanted[name].shape:
            shapes = f"{tuple(value.shape)} in the file, {tuple(wanted[name].shape)} in the model"
            raise UserError(f"{path} does not fit this model: {name} is {shapes}", remedy)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"no such model file: {path}", "Give a run folder, a checkpoint folder or a .safetensors file.")
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK" or start[:1] == b"\x80":
        raise UserError(
            f"{path} is a Python pickle, which can run code when it is read",
            f"Convert it first: lingula convert {path} NEW.safetensors.",
        )


def _not_a_model_file(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} is not a model file ({reason})", "Give a run folder, a checkpoint folder or its weights.safetensors."
    )


class Checkpoints:
    """The checkpoints of a run: folders `step-000500` that are whole or absent.

    Args:
        folder: The run's `checkpoints` folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, step: int) -> Path:
        """Return the folder of a step."""
        return self.folder / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """List the steps that have a whole checkpoint, ascending."""
        return sorted(int(path.name[5:]) for path in self.folder.glob("step-*") if (path / SUMMARY).is_file())

    def save(self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any], summary: Mapping[str, object]) -> Path:
        """Write a checkpoint; one that is there already stays, since a step always has the same state.

        Args:
            step: Steps consumed so far.
            weights: The method's state dict.
            state: Optimiser and gradient scaler: tensors and plain values only.
            summary: Plain values to read without loading anything (seed, precision, …).

        Raises:
            UserError: A number in it is not finite: no such checkpoint is ever written.
        """
        target = self.path(step)
        if target.exists():
            return target
        if bad := names_of_non_finite({"weights": weights, "state": state}):
            problem = f"after step {step}, {bad[0]} is not finite; no checkpoint of it is written"
            raise UserError(problem, self.way_on(STEADIER))
        with atomic_folder(target) as temporary:
            save_weights(temporary / WEIGHTS, weights, {"step": step})
            torch.save(dict(state), temporary / TRAINING_STATE)
            write_json(temporary / SUMMARY, {"version": VERSION, "step": step, **summary})
        return target

    def load_state(self, step: int, device: torch.device) -> dict[str, Any]:
        """Read the training state of a step; nothing in it can run code.

        Raises:
            UserError: It is broken, or holds more than tensors and plain values.
        """
        state = _load_without_code(self.path(step) / TRAINING_STATE, device)
        if not isinstance(state, dict):
            raise UserError(f"{self.path(step) / TRAINING_STATE} is not a training state", "Remove that checkpoint's folder.")
        return state

    def summary(self, step: int) -> dict[str, Any]:
        """Read the plain values saved with a step.

        Raises:
            UserError: They cannot be read, or a newer version wrote them.
        """
        values: dict[str, Any] = read_json(self.path(step) / SUMMARY)
        _check_version(self.path(step), values)
        return values

    def mark_best(self, step: int, loss: float) -> None:
        """Remember that a step has the lowest validation loss so far; this names the `best` checkpoint."""
        write_json(self.folder / _BEST, {"step": step, "validation_loss": loss})

    def best(self) -> tuple[int, float] | None:
        """Return step and validation loss of the best checkpoint, where one was marked and is still there."""
        if not (self.folder / _BEST).is_file():
            return None
        values = read_json(self.folder / _BEST)
        return (values["step"], values["validation_loss"]) if values["step"] in self.steps() else None

    def way_on(self, changed: str = "") -> str:
        """Say how to begin a new run from the last checkpoint, where this one cannot go on.

        Args:
            changed: What the new run should have otherwise.
        """
        steps = self.steps()
        start = f"--init-from {self.path(steps[-1])} (that checkpoint is intact)" if steps else ""
        return f"Begin a new run with {' and '.join(filter(None, [start, changed])) or 'other weights'}."

    def prune(self, keep: int) -> None:
        """Remove all but the initial, the best and the latest `keep` checkpoints."""
        steps, best = self.steps(), self.best()
        stay = {0, *steps[-keep:]} | ({best[0]} if best else set())
        for step in steps:
            if step not in stay:
                shutil.rmtree(self.path(step))

    def remove_leftovers(self) -> None:
        """Remove what a killed write left behind."""
        for leftover in self.folder.glob(".step-*.partial"):
            shutil.rmtree(leftover)

    def find(self, which: str) -> Path:
        """Return the folder of `best`, `last` or `initial`; `best` is the last one where nothing was validated.

        Raises:
            UserError: There is no such checkpoint.
        """
        steps = self.steps()
        if not steps or (which == "initial" and steps[0] != 0):
            raise UserError(f"no {which} checkpoint in {self.folder}", "Train the run first (lingula pretrain … --run …).")
        if which not in ("best", "last", "initial"):
            raise UserError(f"unknown checkpoint '{which}'", "Give best, last or initial.")
        best = self.best()
        step = {"initial": steps[0], "last": steps[-1], "best": best[0] if best else steps[-1]}[which]
        return self.path(step)
