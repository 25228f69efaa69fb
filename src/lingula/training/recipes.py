"""A recipe: method + preset + whatever the user changes, as one complete configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lingula.core.errors import UserError, nearest
from lingula.methods.registry import CONFIGS, default_preset, presets
from lingula.training.config import PretrainConfig


def recipe(
    method: str,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
) -> PretrainConfig:
    """Return the complete configuration of a method's preset.

    Later ones win: defaults, preset, `values`, `overrides`. Giving steps drops the epochs of what came before, and the
    other way round.

    Args:
        method: Name of the method.
        preset: Name of one of its presets; None: `sound`, or the one that the method has in its place.
        overrides: Nested keys and values, e.g. from the command line.
        values: Nested keys and values, e.g. from a YAML file.

    Raises:
        UserError: No such method or preset; a key is unknown (the nearest right one is offered) or a value does not fit.
    """
    if method not in CONFIGS:
        raise UserError(f"no such method: {method}", nearest(method, CONFIGS) or f"Known methods: {', '.join(CONFIGS)}.")
    known = presets(method)
    preset = default_preset(method) if preset is None else preset
    if preset not in known:
        raise UserError(f"{method} has no preset '{preset}'", nearest(preset, known) or f"It has {', '.join(known)}.")
    complete: dict[str, Any] = {"method": {"name": method}}
    for layer in (known[preset], values or {}, overrides or {}):
        complete = _merge(complete, layer)
    named = complete["method"]["name"] if isinstance(complete["method"], dict) else complete["method"]
    if named != method:
        raise UserError(f"the configuration is for {named}, not for {method}", f"Use `lingula pretrain {named}`.")
    own = {key: value for key, value in complete["method"].items() if key != "name"}
    complete["method"] = CONFIGS[method].from_values(own, f"{method} configuration, method").model_dump()
    return PretrainConfig.from_values(complete, f"{method} configuration")


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested values over others."""
    merged = dict(below)
    for this, other in (("steps", "epochs"), ("epochs", "steps")):
        if above.get(this) is not None and above.get(other) is None:
            merged.pop(other, None)
    for key, value in above.items():
        here = merged.get(key)
        merged[key] = _merge(here, value) if isinstance(here, Mapping) and isinstance(value, Mapping) else value
    return merged
