"""What the page says about a run itself: what was trained, from which weights, by which command, with which settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from lingula.evaluation.run_view import RunView
from lingula.evaluation.tables import results_for
from lingula.models.text_recipes import RECIPES

SHOWN_SETTINGS = ("method", "image_encoder", "text_encoder", "data", "augment", "crop", "optimisation", "runtime")
FOR_RADIOGRAPHS, FOR_VOLUMES = ("image_encoder", "augment", "data.image_size"), ("crop",)
"""Settings that have no part in a run of the other kind of images."""


def run_facts(run: RunView) -> list[tuple[str, str]]:
    """Return what was trained, from which weights, how large, on what machine."""
    image, text = _group(run.config, "image_encoder"), _group(run.config, "text_encoder")
    optimisation, data, runtime = (_group(run.config, name) for name in ("optimisation", "data", "runtime"))
    started, samples = _group(run.environment, "starting_weights"), _group(run.environment, "samples")
    facts = [
        ("Method", run.method),
        ("Image encoder", _volume_encoder(run) or f"{image.get('name', '–')}, {data.get('image_size', '–')} px"),
        ("Orientation", _orientation(run)),
        ("Weights", _weights({} if _orientation(run) else image, started)),
        ("Text encoder", "none" if run.method == "supervised" else _text_encoder(text)),
        ("Parameters", parameters_of(run)),
        ("Trained on", str(samples.get("summary") or "")),
        ("Steps", _duration(run, optimisation)),
        ("Batch size", _thousands(optimisation.get("batch_size"))),
        ("Seed", str(runtime.get("seed", "–"))),
    ]
    environment = run.environment
    for label, name in (("Device", "device"), ("Commit", "git_commit"), ("torch", "torch")):
        value = _deep(environment, name)
        if value is not None:
            facts.append((label, str(value)[: 12 if label == "Commit" else 60]))
    return [(label, value) for label, value in facts if value]


def _orientation(run: RunView) -> str:
    """Write where the axes of the volumes point; nothing for radiographs."""
    name = str(_group(run.environment, "reading").get("orientation") or "")
    ends = {"RAS": "right, front, head", "SAR": "head, front, right"}
    return f"{name} (x, y, z run to the {ends[name]})" if name in ends else name


def _volume_encoder(run: RunView) -> str:
    """Write which encoder reads CT volumes, its crops and voxels; nothing for radiographs."""
    if not _orientation(run):
        return ""
    method, crop, reading = _group(run.config, "method"), _group(run.config, "crop"), _group(run.environment, "reading")
    encoder = _group(method, "encoder")
    size = method.get("size") or f"{encoder.get('embed_dim')} features, {encoder.get('depth')} blocks"
    voxels = "as they came" if reading.get("spacing") is None else f"{reading['spacing']} mm"
    return f"3-D vision transformer, {size}; crops of {crop.get('size')} voxels, {voxels}"


def _weights(image: Mapping[str, Any], started: Mapping[str, Any]) -> str:
    """Write what the image encoder started from, in the words of the option; a missing entry is told as missing."""
    origin = image.get("weights") or started.get("image_encoder") or "not recorded"
    begun = started.get("init_from")
    return f"weights: {origin}" + (f", then all of {begun}" if begun else "")


def _text_encoder(text: Mapping[str, Any]) -> str:
    """Write which language model read the reports, how it came about, and whether it was trained along."""
    name = str(text.get("name", "–"))
    small = text.get("small") if name == "small" else None
    recipe = RECIPES.get(name)
    parts = [name]
    if isinstance(small, Mapping):
        parts.append(f"trained on the reports of this store, {small.get('width', '–')} features")
        parts.append(f"transformer layers: {small['layers']}" if small.get("layers") else "words without their order")
    elif recipe is not None:
        files = text.get("folder")
        parts.append(f"files in {files}" if files else f"{recipe.hub} at {str(text.get('revision') or recipe.revision)[:12]}")
    elif text.get("revision"):
        parts.append(f"at {text['revision']}")
    if text.get("frozen") is not None:
        parts.append("frozen" if text["frozen"] else "trained along")
    return ", ".join(parts)


def training_command(run: RunView) -> str:
    """Write the command that repeats the training from the run's own frozen configuration."""
    return shlex.join(["lingula", "pretrain", run.method, "--config", str(run.path / "config.yaml"), "--run", "NEW_FOLDER"])


def evaluation_commands(task: str, runs: Sequence[RunView]) -> list[str]:
    """Write the command behind each run's numbers; results of older versions do not say theirs."""
    commands = []
    results = results_for(task, runs)
    for run in runs:
        if run.name in results:
            options = results[run.name].protocol.get("options")
            where = f"lingula evaluate {shlex.quote(str(run.path))} "
            commands.append(where + options if options else f"{where}… (options not recorded by the version that wrote it)")
    return commands


def parameters_of(run: RunView) -> str:
    """Write trainable and total parameters, where the environment has them."""
    trainable = _number(run.environment, "trainable")
    total = _number(run.environment, "total")
    if trainable is None or total is None:
        return ""
    return f"{_thousands(trainable)} trainable of {_thousands(total)} ({100 * float(trainable) / max(float(total), 1):.0f} %)"


def _duration(run: RunView, optimisation: Mapping[str, Any]) -> str:
    done = max((int(entry["step"]) for entry in run.metrics if "step" in entry), default=None)
    planned = optimisation.get("steps")
    if done is None:
        return _thousands(planned) if planned else ""
    return f"{_thousands(done)} of {_thousands(planned)}" if planned and planned != done else _thousands(done)


def settings_of(run: RunView) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return configuration and environment, flattened, for the page's appendix, without what is for the other kind of images."""
    unused = FOR_RADIOGRAPHS if _orientation(run) else FOR_VOLUMES
    config = {key: value for key, value in run.config.items() if key not in unused}
    config["data"] = {key: value for key, value in _group(config, "data").items() if f"data.{key}" not in unused}
    groups = [(name, _flatten(config[name])) for name in SHOWN_SETTINGS if config.get(name)]
    rest = {key: value for key, value in config.items() if key not in SHOWN_SETTINGS}
    groups += [("other", _flatten(rest))] if rest else []
    environment = {key: value for key, value in run.environment.items() if key != "data"}
    return [*groups, ("environment", _flatten(environment))] if environment else groups


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flatten(inner, f"{prefix}.{key}" if prefix else str(key))]
    return [(prefix or "value", ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def _group(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def _deep(values: Mapping[str, Any], name: str) -> Any:
    """Find a plain value by its key, at any depth."""
    if name in values and not isinstance(values[name], Mapping | list):
        return values[name]
    inner = (_deep(value, name) for value in values.values() if isinstance(value, Mapping))
    return next((value for value in inner if value is not None), None)


def _number(environment: Mapping[str, Any], name: str) -> float | None:
    value = _deep(_group(environment, "parameters"), name)
    return value if isinstance(value, int | float) else None


def _thousands(value: Any) -> str:
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int | float) else "–"
