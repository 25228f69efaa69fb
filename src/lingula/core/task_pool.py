"""Independent pieces of work: in this process, in processes of this machine, or on a Dask cluster, by one interface."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from lingula.core.errors import UserError

LOCAL = "local"


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Args:
        count: Processes of this machine; 1 works in this process. A cluster that is named by its address has its own number.
        scheduler: Empty: processes of this machine. `local`: a Dask cluster on this machine, for this call. Else the address of
            a Dask scheduler (`tcp://HOST:8786`, `tls://…`).
        memory: What one worker of the `local` cluster may take (`4GiB`); one that takes more is restarted. Empty: its share of
            the machine's memory.

    Raises:
        UserError: A memory limit is given where there is no local cluster to hold to it.
    """

    count: int = 1
    scheduler: str = ""
    memory: str = ""

    def __post_init__(self) -> None:
        if self.memory and self.scheduler != LOCAL:
            remedy = "Add --scheduler local; workers of a cluster have theirs: dask worker --memory-limit."
            raise UserError("a memory limit per worker needs a local cluster", remedy)


class TaskPool(Protocol):
    """Does pieces of work, at most two per worker under way, so that memory is bounded by the size of a piece."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...

    def submit(self, weight: int, function: Callable[..., None], *arguments: object) -> Iterator[int]:
        """Begin one piece of work; yield the weights of those that were finished meanwhile.

        Function and arguments are pickled for another process. The function may be called again after a failure.

        Raises:
            UserError: A worker died, or no worker can be reached.
        """
        ...

    def drain(self) -> Iterator[int]:
        """Wait for all work under way; yield the weight of each piece.

        Raises:
            UserError: A worker died, or no worker can be reached.
        """
        ...


def task_pool(workers: Workers) -> TaskPool:
    """Return the pool that was asked for; it starts when it is entered or first needed.

    Raises:
        UserError: Dask is asked for and not installed.
    """
    if workers.scheduler:
        from lingula.core.dask_pool import DaskPool

        return DaskPool(workers)
    return ProcessPool(workers.count) if workers.count > 1 else OwnProcess()


class OwnProcess:
    """Does each piece of work at once, in this process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def submit(self, weight: int, function: Callable[..., None], *arguments: object) -> Iterator[int]:
        """Do one piece of work; yield its weight."""
        function(*arguments)
        yield weight

    def drain(self) -> Iterator[int]:
        """Yield nothing: all is done."""
        yield from ()


class ProcessPool:
    """Works in processes of this machine that start when they are first needed and end with this one.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._running: dict[Future[None], int] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, weight: int, function: Callable[..., None], *arguments: object) -> Iterator[int]:
        """Begin one piece of work; yield the weights of those that were finished meanwhile.

        Raises:
            UserError: A worker process died.
        """
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_start_worker)
        try:
            self._running[self._pool.submit(function, *arguments)] = weight
        except BrokenProcessPool:
            raise _worker_died() from None
        while len(self._running) > 2 * self._workers:
            yield from self._wait()

    def drain(self) -> Iterator[int]:
        """Wait for all work under way; yield the weight of each piece.

        Raises:
            UserError: A worker process died.
        """
        while self._running:
            yield from self._wait()

    def _wait(self) -> Iterator[int]:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            weight = self._running.pop(future)
            try:
                future.result()
            except BrokenProcessPool:
                raise _worker_died() from None
            yield weight


def _worker_died() -> UserError:
    remedy = "Run it again with fewer workers (finished work is kept); a script needs `if __name__ == '__main__':`."
    return UserError("a worker process died, perhaps for lack of memory", remedy)


_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def _start_worker() -> None:
    """Leave interrupts to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # the kernel is quicker than the thread: nothing is written once the parent's lock is free
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
