"""The one way to open a store of any kind."""

from __future__ import annotations

from pathlib import Path

from lingula.data.store import Store
from lingula.data.store_schema import kind_of
from lingula.data.store_table import read_about
from lingula.data.volume_store import VolumeStore


def open_store(path: Path | str) -> Store | VolumeStore:
    """Open a prepared store: of radiographs a `Store`, of CT volumes a `VolumeStore`.

    Raises:
        UserError: The folder is missing, is not a store, was made by another version, is unfinished, damaged or empty.
    """
    kinds: dict[str, type[Store] | type[VolumeStore]] = {each.kind: each for each in (Store, VolumeStore)}
    return kinds[kind_of(read_about(Path(path))["settings"])].open(path)
