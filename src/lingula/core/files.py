"""Files that are either whole or absent: atomic writes and content hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lingula.core.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_UMASK = os.umask(0)
os.umask(_UMASK)  # it can only be read by setting it


@contextmanager
def explained_writing(folder: Path) -> Iterator[None]:
    """Turn a full disk, or a place that must not be written, into a `UserError`.

    Args:
        folder: What is being written, for the error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            remedy = "Free some space, then run the same command again: what is finished is kept."
            raise UserError(f"no space left to write {folder} ({os.strerror(error.errno)})", remedy) from error
        if error.errno in _FORBIDDEN:
            raise UserError(f"cannot write {folder} ({os.strerror(error.errno)})", "Choose another folder.") from error
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed over `path`.

    An exception or a kill leaves the old file as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it is renamed to `path`, which must not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _flush(file)
        temporary.rename(path)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Return a name that no other process chooses, on this machine or on another one that shares the disk."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def share(path: Path) -> None:
    """Let those read a file who may read other new files; safetensors writes for its owner alone."""
    path.chmod(0o666 & ~_UMASK)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file atomically, keys in the order given."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})", "It is cut short or damaged: restore it, or make it again.") from None


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line; nothing where there is no file, and without a last line that a kill cut short.

    Raises:
        UserError: Another line is not JSON.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise UserError(f"{path}, line {number}, is not JSON", "Mend or remove that line.") from None
    return [entry for entry in entries if isinstance(entry, dict)]


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(*parts: str | bytes) -> str:
    """Return the SHA-256 of several parts; each part's length is hashed too, so that no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
