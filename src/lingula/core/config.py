"""Frozen, complete, strict configuration: YAML in, YAML out, unknown keys are errors with a suggestion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lingula.core.errors import UserError, nearest
from lingula.core.files import write_text


class Config(BaseModel):
    """Base of every configuration: immutable, no unknown keys, field docstrings are the help texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

    @classmethod
    def from_values(cls, values: dict[str, Any], where: str) -> Self:
        """Validate a plain dictionary.

        Args:
            values: Keys and values, nested as the fields are.
            where: What to call the origin in an error, e.g. the YAML file.

        Raises:
            UserError: A key is unknown (the nearest right one is offered) or a value does not fit.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _explain(error, cls, where) from None

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read a configuration from a YAML file.

        Raises:
            UserError: The file is missing, is not a mapping, or does not fit.
        """
        return cls.from_values(read_yaml(path), str(path))

    def to_yaml(self, path: Path) -> None:
        """Write the complete configuration, atomically."""
        write_text(path, self.as_yaml())

    def as_yaml(self) -> str:
        """Return the complete configuration as YAML text."""
        text: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        return text


LARGEST_YAML = 100_000
"""Values in a configuration file, every alias counted as often as it is used."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: The file is missing, not YAML, not a mapping, or so large or nested, with its aliases written out, that it
            is no configuration.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _check_size(node, path)
        values = loader.construct_document(node) if node else None
    except FileNotFoundError:
        raise UserError(f"no such configuration file: {path}", "Check the path given to --config.") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror})", "Check the path given to --config.") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply for a configuration", "Mend the file.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML ({str(error).splitlines()[0]})", "Mend the file.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} does not hold a mapping of keys to values", "See --print-config for the layout.")
    return values


def _check_size(document: yaml.Node | None, path: Path) -> None:
    """Refuse a document that would grow beyond `LARGEST_YAML` values, or without end, once its aliases are written out."""
    sizes: dict[int, float] = {}

    def size(node: yaml.Node | None) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = float("inf")  # until it is known: an alias of a value inside itself has no end
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            flat = [each for part in parts for each in (part if isinstance(part, tuple) else (part,))]
            sizes[id(node)] = 1 + sum(size(each) for each in flat)
        return sizes[id(node)]

    if size(document) > LARGEST_YAML:
        problem = f"{path} holds more than {LARGEST_YAML:,} values once its aliases are written out"
        raise UserError(problem, "Write the configuration without so many aliases.")


def _explain(error: ValidationError, cls: type[BaseModel], where: str) -> UserError:
    """Turn the first validation error into one line, with the nearest right key where a key is unknown."""
    first = error.errors()[0]
    names = [str(part) for part in first["loc"]]
    key = ".".join(names)
    if first["type"] == "extra_forbidden":
        known = _fields_at(cls, names[:-1])
        return UserError(f"{where}: unknown key '{key}'", nearest(names[-1], known) or f"Known keys: {', '.join(known)}.")
    return UserError(f"{where}: '{key}': {first['msg']} (got {_short(first['input'])})", "See --print-config for valid values.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _fields_at(cls: type[BaseModel], path: list[str]) -> list[str]:
    """List the field names of the nested model that `path` leads to; every name in the tree where it leads nowhere."""
    here: type[BaseModel] = cls
    for name in path:
        field = here.model_fields.get(name)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        here = field.annotation
    return list(here.model_fields)


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested values over others, later ones on top."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            here = result.get(key)
            result[key] = merged(here, value) if isinstance(here, Mapping) and isinstance(value, Mapping) else value
    return result
