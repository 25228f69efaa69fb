"""Where a store is written: in its folder, or beside it until it can replace the one that is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lingula.core.errors import UserError
from lingula.core.files import read_json, write_json
from lingula.data.store_schema import PREPARE_FILE, SHARDS_FOLDER, STORE_FILE, STORE_VERSION

PARTIAL = ".*.partial"
"""Names of files and folders that were being written when a process was killed."""


def claim(store: Path, settings: dict[str, Any], overwrite: bool) -> Path:
    """Return the folder to write in, new or begun with these very settings, cleared of what a killed process left.

    Args:
        store: The store's folder; its lock is held.
        settings: What determines the store.
        overwrite: Write a replacement beside the store that is there, which stays until `put_in_place`.

    Raises:
        UserError: The folder is something else, or a store with other settings and is not to be overwritten.
    """
    _recover(store)
    if store.exists() and not store.is_dir():
        raise UserError(f"{store} is a file", "Choose another folder.")
    place = store
    if store.is_dir() and set(store.iterdir()) - set(store.glob(PARTIAL)):
        if not (store / PREPARE_FILE).is_file():
            raise UserError(f"{store} exists and is not a store", "Choose another folder.")
        other = _differences(store, settings)
        if overwrite:
            place = _replacement(store)
        elif other:
            remedy = "Choose another folder, or replace it with --overwrite."
            raise UserError(f"{store} was prepared differently ({other})", remedy)
    if place != store and place.exists() and (not (place / PREPARE_FILE).is_file() or _differences(place, settings)):
        shutil.rmtree(place)
    for leftover in [*place.glob(PARTIAL), *(place / SHARDS_FOLDER).glob(PARTIAL)]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    if not (place / PREPARE_FILE).is_file():
        write_json(place / PREPARE_FILE, {"version": STORE_VERSION, **settings})
    return place


def put_in_place(place: Path, store: Path) -> None:
    """Let a finished replacement take the store's place; only then the old one is removed."""
    if place == store:
        return
    store.rename(_outgoing(store))
    place.rename(store)
    shutil.rmtree(_outgoing(store))


def is_being_replaced(store: Path) -> bool:
    """Whether the store's folder was moved aside and its replacement is not there yet."""
    return not store.exists() and _outgoing(store).exists()


def _replacement(store: Path) -> Path:
    return store.with_name(f".{store.name}.new")


def _outgoing(store: Path) -> Path:
    return store.with_name(f".{store.name}.old")


def _recover(store: Path) -> None:
    """Finish a replacement that was cut short between its two renames or while the old store was removed."""
    new, old = _replacement(store), _outgoing(store)
    if old.exists() and not store.exists():
        (new if (new / STORE_FILE).is_file() else old).rename(store)
    if old.exists():
        shutil.rmtree(old)


def _differences(folder: Path, now: dict[str, Any]) -> str:
    """Name what differs between a store's settings and these, empty where nothing does."""
    try:
        before = read_json(folder / PREPARE_FILE)
    except UserError:
        before = None
    if not isinstance(before, dict):
        return f"its {PREPARE_FILE} is damaged"
    if before.get("version") != STORE_VERSION:
        return f"version {before.get('version')} instead of {STORE_VERSION}"
    flat_before, flat_now = ({**values, **values.get("source_settings", {})} for values in (before, now))
    known = [*flat_now, *(key for key in ("identifiers",) if key in flat_before and key not in flat_now)]
    keys = [key for key in known if key != "source_settings" and flat_before.get(key) != flat_now.get(key)]
    return ", ".join(f"{key}: {_told(flat_before, key)} instead of {_told(flat_now, key)}" for key in keys[:3])


def _told(settings: dict[str, Any], key: str) -> str:
    return repr(settings[key]) if key in settings else "nothing"
