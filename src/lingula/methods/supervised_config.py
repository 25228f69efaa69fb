"""Configuration and presets of the supervised reference; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from lingula.core.config import Config


class SupervisedConfig(Config):
    """Supervised reference: binary cross-entropy over the known labels of the training split."""

    name: Literal["supervised"] = "supervised"
    """Which method this is."""
    findings: tuple[str, ...] | None = None
    """Labels to learn, in this order; all findings of the store where nothing is given."""


PRESETS: dict[str, dict[str, Any]] = {
    "sound": {
        "method": {"name": "supervised"},
        "optimisation": {"learning_rate": 5e-4, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.05, "clip_norm": 1.0},
    }
}
"""`sound`: the budget of the pre-training methods it is compared with."""
