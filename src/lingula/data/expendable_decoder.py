"""Decoding in a process that may die: gdcm aborts on some damaged JPEG and JPEG-LS streams, and would take us along."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np

from lingula.data.readers import UnreadableImage

PATIENCE = 300.0
"""Seconds that one image may take."""


def decode_expendably(path: Path) -> np.ndarray:
    """Return the decoded values of a DICOM file, from a child process that is kept for the next file.

    Raises:
        UnreadableImage: The file cannot be decoded, or decoding it killed the child or took too long.
    """
    child = _running_child()
    about, data = _ask(child, path)
    if about is None:
        _end_child()
        raise UnreadableImage("its coded image crashes or stalls the decoder")
    if "reason" in about:
        raise UnreadableImage(about["reason"])
    return np.frombuffer(data, dtype=about["dtype"]).reshape(about["shape"])


_children: dict[int, subprocess.Popen[bytes]] = {}
"""The child of each process, by the process's own number: a forked copy must not share its parent's."""


def _running_child() -> subprocess.Popen[bytes]:
    child = _children.get(os.getpid())
    if child is None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        command = [sys.executable, "-m", "lingula.data.expendable_decoder"]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        _children[os.getpid()] = child
        atexit.register(_end_child)
    return child


def _end_child() -> None:
    child = _children.pop(os.getpid(), None)
    if child is not None:
        child.kill()
        child.communicate()


def _ask(child: subprocess.Popen[bytes], path: Path) -> tuple[dict[str, Any] | None, bytes]:
    """Send a path and return what is said of it and the pixels; None where no whole answer comes."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
        child.stdin.flush()
    except BrokenPipeError:
        return None, b""
    if not select.select([child.stdout], [], [], PATIENCE)[0]:
        return None, b""
    line = child.stdout.readline()
    about: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
    data = child.stdout.read(about.get("bytes", 0)) if about else b""
    return (about, data) if about and len(data) == about.get("bytes", 0) else (None, b"")


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Decode the files whose paths come in, one a line, until the parent closes its end."""
    from lingula.data.dicom import decode_with_gdcm

    for line in requests:
        try:
            values = decode_with_gdcm(Path(json.loads(line)))
        except UnreadableImage as error:
            answers.write(json.dumps({"reason": error.reason}).encode() + b"\n")
        else:
            about = {"dtype": values.dtype.str, "shape": values.shape, "bytes": values.nbytes}
            answers.write(json.dumps(about).encode() + b"\n")
            answers.write(np.ascontiguousarray(values).data)
        answers.flush()


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    _serve(sys.stdin.buffer, channel)
