"""Weights in other people's formats, read and written."""

from __future__ import annotations

from typing import Any

__all__ = ["Colipri", "ColipriConfig", "load_colipri", "save_colipri"]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for."""
    if name == "ColipriConfig":
        from lingula.exchange.colipri_config import ColipriConfig

        return ColipriConfig
    if name in __all__:
        from lingula.exchange import colipri

        return getattr(colipri, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
