"""A task as one paper ran it on one data set, and what that means for `lingula evaluate`."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import Any

from pydantic import Field

from lingula.core.config import Config, merged, read_yaml
from lingula.core.errors import UserError, nearest
from lingula.evaluation.config import EvaluateConfig, TaskName

SYSTEMS = ("m-flag", "g2d", "mgca", "chexclusion", "medklip", "kad", "benchx", "ct-clip", "colipri")
"""Whose protocols there are; each has a YAML file here."""


class RowKey(Config):
    """Which row of a result a published number is compared with."""

    metric: str
    label: str = ""
    setting: str = ""
    """`{fraction}` stands for the share of labels, e.g. `1 %`."""


class Protocol(Config):
    """What one paper (or its code) did; what the source does not state is written as "not stated"."""

    method: str
    """The row of published numbers that is the paper's own."""
    task: TaskName
    """Our task that comes closest."""
    dataset: str
    """As `lingula data prepare` calls it."""
    split: str
    """Rule of `lingula data prepare NAME --split`, `lists`, or words where there is no rule."""
    sizes: tuple[int, int, int] | None = None
    """Published images in train, val and test."""
    fractions: tuple[float, ...] = ()
    """Shares of the training data; none: nothing is trained."""
    image_size: int | str
    """Side in pixels, or in words."""
    optimiser: str
    schedule: str
    early_stopping: str
    metric: str
    """The published metric, in words."""
    source: str
    """Where this is printed."""
    numbers: str | None = None
    """The protocol under which its published numbers stand, where that is another one; empty: there are none."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Values of `EvaluateConfig`."""
    rows: dict[str, tuple[RowKey, ...]] = Field(default_factory=dict)
    """Published metric to the rows of our result beside it, the most comparable first; none: nothing of ours is comparable."""
    differs: str = ""
    """What ours does otherwise."""


@cache
def protocols() -> dict[str, Protocol]:
    """Return all protocols by name, `SYSTEM/TASK/DATASET`."""
    found: dict[str, Protocol] = {}
    for system in SYSTEMS:
        with as_file(files(__package__).joinpath(f"{system}.yaml")) as path:
            for name, values in read_yaml(path).items():
                found[name] = Protocol.from_values(values, f"{path.name}: {name}")
    return found


def protocol_of(name: str) -> Protocol:
    """Return a protocol.

    Raises:
        UserError: There is none of this name.
    """
    known = protocols()
    if name not in known:
        system = [each for each in known if each.startswith(f"{name.split('/')[0]}/")]
        remedy = nearest(name, known) or f"There are {', '.join(system or SYSTEMS)}."
        raise UserError(f"no such protocol: {name}", remedy)
    return known[name]


def with_protocol(config: EvaluateConfig) -> EvaluateConfig:
    """Return the configuration with a protocol's task and values, where the user gave no other value; itself without a protocol.

    Raises:
        UserError: There is no such protocol, or another task is asked for.
    """
    if not config.protocol:
        return config
    protocol = protocol_of(config.protocol)
    default = EvaluateConfig(store=config.store)
    if config.task not in (default.task, (protocol.task,)):
        problem = f"protocol {config.protocol} is of the task {protocol.task}, not {', '.join(config.task)}"
        raise UserError(problem, "Leave --task out, or --protocol.")
    fractions = {"fraction": protocol.fractions} if protocol.fractions else {}
    plain = default.model_dump(mode="json")
    asked = _changes(config.model_dump(mode="json"), plain)
    values = merged(plain, {"task": (protocol.task,), **fractions}, protocol.options, asked)
    return EvaluateConfig.from_values(values, f"protocol {config.protocol}")


def departures(config: EvaluateConfig, protocol: Protocol) -> list[str]:
    """Return the options in which a configuration departs from a protocol's, dotted, e.g. `segment.loss`."""
    wanted, given = protocol.options, config.model_dump(mode="json")
    return [name for name, value in _flat(wanted).items() if _flat(given).get(name) != value]


def _changes(values: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """Return what differs from the defaults, nested as it is."""
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(plain[name], dict):
            inner = _changes(value, plain[name])
            changed |= {name: inner} if inner else {}
        elif value != plain[name]:
            changed[name] = value
    return changed


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
