from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lingula.core.errors import UserError
from lingula.core.lock import lock_file_of, locked


def _leave_lock(folder: Path, pid: int, host: str) -> None:
    holder = {"doing": "preparing", "host": host, "pid": pid, "since": "2026-01-01T00:00:00+00:00"}
    lock_file_of(folder).write_text(json.dumps(holder))


def test_the_lock_is_held_inside_and_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "new/store"
    with locked(folder, "testing"):
        with (
            pytest.raises(UserError, match=rf"process {os.getpid()} on {socket.gethostname()} is testing it since \d"),
            locked(folder, "x"),
        ):
            pass
        assert lock_file_of(folder).is_file()
    assert not list(folder.parent.iterdir())
    with pytest.raises(ZeroDivisionError), locked(folder, "testing"):
        raise ZeroDivisionError
    with locked(folder, "testing"):
        pass


def test_where_the_file_system_cannot_lock_the_living_holder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = socket.gethostname()
    for pid, host, free in ((os.getpid(), here, False), (dead.pid, here, True), (dead.pid, "elsewhere", False)):
        _leave_lock(tmp_path / "store", pid, host)
        if free:
            with locked(tmp_path / "store", "testing"):
                assert json.loads(lock_file_of(tmp_path / "store").read_text())["doing"] == "testing"
        else:
            with pytest.raises(UserError, match=f"process {pid} on {host} is preparing"), locked(tmp_path / "store", "testing"):
                pass
