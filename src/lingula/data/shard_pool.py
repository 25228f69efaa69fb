"""Writing shards in worker processes, a bounded number at a time."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from lingula.core.errors import UserError
from lingula.data.identifiers import Pseudonyms
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
from lingula.data.shards import write_shard
from lingula.data.study import Source, Study


class ShardPool:
    """Writes shards in worker processes that never import torch; one worker writes in this process.

    At most two shards per worker are under way, so memory is bounded by the shard size.

    Args:
        source: Where the images come from; it is pickled once per worker.
        settings: What is stored of an image.
        workers: Processes; with 1 everything happens in this process.
        pseudonyms: What identifiers are replaced by; None: they are written as they are.
    """

    def __init__(
        self, source: Source, settings: PrepareConfig | PrepareVolumesConfig, workers: int, pseudonyms: Pseudonyms | None = None
    ) -> None:
        self._source, self._settings, self._workers, self._pseudonyms = source, settings, workers, pseudonyms
        self._running: dict[Future[None], int] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ShardPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, studies: list[Study], folder: Path, fingerprint: str) -> Iterator[int]:
        """Write one shard; yield how many studies were finished meanwhile.

        Raises:
            UserError: A worker process died.
        """
        if self._workers <= 1:
            write_shard(self._source, studies, self._settings, folder, fingerprint, self._pseudonyms)
            yield len(studies)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            start = (self._source, self._settings, self._pseudonyms)
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_start_worker, initargs=start)
        try:
            self._running[self._pool.submit(_write_in_worker, studies, folder, fingerprint)] = len(studies)
        except BrokenProcessPool:
            raise _worker_died() from None
        while len(self._running) > 2 * self._workers:
            yield from self._wait()

    def drain(self) -> Iterator[int]:
        """Wait for the shards under way; yield how many studies each had.

        Raises:
            UserError: A worker process died.
        """
        while self._running:
            yield from self._wait()

    def _wait(self) -> Iterator[int]:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            count = self._running.pop(future)
            try:
                future.result()
            except BrokenProcessPool:
                raise _worker_died() from None
            yield count


def _worker_died() -> UserError:
    remedy = "Run it again with fewer workers (finished shards are kept); a script needs `if __name__ == '__main__':`."
    return UserError("a worker process died, perhaps for lack of memory", remedy)


_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""

_worker: dict[str, Any] = {}


def _start_worker(source: Source, settings: PrepareConfig | PrepareVolumesConfig, pseudonyms: Pseudonyms | None) -> None:
    """Keep what every shard needs; leave interrupts to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(source=source, settings=settings, pseudonyms=pseudonyms)
    if sys.platform == "linux":  # the kernel is quicker than the thread: nothing is written once the parent's lock is free
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_in_worker(studies: list[Study], folder: Path, fingerprint: str) -> None:
    write_shard(_worker["source"], studies, _worker["settings"], folder, fingerprint, _worker["pseudonyms"])
