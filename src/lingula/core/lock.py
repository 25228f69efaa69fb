"""A lock on a folder that says who holds it, and that outlives nobody."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from lingula.core.errors import UserError


def lock_file_of(folder: Path) -> Path:
    """Return where the lock of a folder lies: beside it, so that the folder itself may be replaced."""
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Hold the lock of a folder; the folder need not exist.

    The system frees the lock when its process ends, however it ends, so one that a dead process of this machine left behind
    is taken over. One that names another machine is respected: many shared file systems do not tell who is alive elsewhere.

    Args:
        folder: What is locked.
        doing: What it is locked for, as a person would say it.

    Raises:
        UserError: Another process holds it; the error says which one, where and since when.
    """
    file = lock_file_of(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _take(file, folder)
    try:
        holder = {"doing": doing, "host": socket.gethostname(), "pid": os.getpid(), "since": _now()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _take(file: Path, folder: Path) -> int:
    """Open the lock file and lock it; try again where its holder removed it meanwhile."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            holder = _read(descriptor)
            if not _is_free(descriptor, holder):
                raise _refusal(file, folder, holder)
            if file.exists() and os.fstat(descriptor).st_ino == file.stat().st_ino:
                if holder.get("host", socket.gethostname()) != socket.gethostname():
                    raise _refusal(file, folder, holder)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_free(descriptor: int, holder: dict[str, Any]) -> bool:
    """Lock the file for this process, where the file system can; otherwise ask whether the holder is alive."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return holder.get("host") != socket.gethostname() or not _is_alive(int(holder["pid"]))
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(descriptor: int) -> dict[str, Any]:
    """Return what the holder wrote, nothing where it has not written yet."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) and "pid" in holder else {}


def _refusal(file: Path, folder: Path, holder: dict[str, Any]) -> UserError:
    if not holder:
        return UserError(f"{folder} is locked by another process", f"Wait for it; if there is none, remove {file}.")
    who = f"process {holder['pid']} on {holder.get('host')} is {holder.get('doing')} it since {holder.get('since')}"
    remedy = "Wait for it" if holder.get("host") == socket.gethostname() else f"If it has ended, remove {file}"
    return UserError(f"{folder} is locked: {who}", f"{remedy}.")


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
