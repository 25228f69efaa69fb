"""Whether the network may be touched; one answer for every place that could."""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLES = ("LINGULA_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid it: ours, and the one that Hugging Face's libraries obey."""


def forbidden_by(environment: Mapping[str, str] | None = None) -> str | None:
    """Return the variable that forbids the network, or None.

    >>> forbidden_by({"LINGULA_OFFLINE": "1"}), forbidden_by({"LINGULA_OFFLINE": "0"})
    ('LINGULA_OFFLINE', None)
    """
    values = os.environ if environment is None else environment
    return next((name for name in VARIABLES if values.get(name, "").strip().lower() not in {"", "0", "no", "off", "false"}), None)


def go_offline() -> None:
    """Forbid the network to this process, its libraries and its children; call it before they are imported."""
    for name in VARIABLES:
        os.environ[name] = "1"
