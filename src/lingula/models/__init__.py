"""Image and text encoders."""

from __future__ import annotations

from typing import Any

__all__ = ["AttentionPool2d"]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for: the command line reads configurations of this package before that."""
    if name == "AttentionPool2d":
        from lingula.models.attention_pool import AttentionPool2d

        return AttentionPool2d
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
