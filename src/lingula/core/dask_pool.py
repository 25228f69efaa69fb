"""Pieces of work on a Dask cluster, which may lose workers and its scheduler while they are under way."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lingula.core.errors import UserError
from lingula.core.task_pool import LOCAL, Workers

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

PACKAGES = ("lingula", "numpy", "pillow", "pyarrow", "pydicom", "torch")
"""What decides over the bytes that a worker writes: every machine must have the same versions."""
FIRST_ANSWER = 10.0
"""Seconds until a scheduler must have answered."""
PATIENCE = 120.0
"""Seconds that a lost scheduler, or the first worker, may take to come (back). Ours."""
LOOK = 0.5
"""Seconds between two looks at the cluster."""


@dataclass(frozen=True)
class _Task:
    weight: int
    function: Callable[..., None]
    arguments: tuple[object, ...]


class DaskPool:
    """Works on a Dask cluster, at most two pieces per thread under way.

    Work of a worker that died is done by another one (Dask gives up on a piece that kills four). When the scheduler is lost, this
    waits for it to come back and hands in anew what was under way; workers may come and go. Nothing is lost and nothing counted
    twice as long as a piece of work leaves its result behind whole or not at all.

    Args:
        workers: The cluster.

    Raises:
        UserError: Dask is not installed.
    """

    def __init__(self, workers: Workers, patience: float = PATIENCE) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise UserError(
                "--scheduler needs Dask, which is not installed", "Install it: pip install 'lingula[scale]'."
            ) from None
        self._workers, self._patience = workers, patience
        self._running: dict[Future, _Task] = {}
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self._threads = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def submit(self, weight: int, function: Callable[..., None], *arguments: object) -> Iterator[int]:
        """Begin one piece of work; yield the weights of those that were finished meanwhile.

        Raises:
            UserError: Scheduler or workers are gone for good, a piece killed its workers, or a machine has other versions.
        """
        if self._client is None:
            self._start()
        self._send(_Task(weight, function, arguments))
        while len(self._running) > 2 * self._threads:
            yield from self._wait()

    def drain(self) -> Iterator[int]:
        """Wait for all work under way; yield the weight of each piece.

        Raises:
            UserError: As for `submit`.
        """
        while self._running:
            yield from self._wait()

    def _start(self) -> None:
        """Start the cluster of this machine where that is asked for, and wait for the first worker."""
        import dask
        from distributed import LocalCluster

        if self._workers.scheduler == LOCAL:
            with dask.config.set({"distributed.worker.profile.enabled": False}):  # it looks at every worker 100 times a second
                self._cluster = LocalCluster(
                    n_workers=self._workers.count,
                    threads_per_worker=1,
                    memory_limit=self._workers.memory or "auto",
                    dashboard_address=None,
                    host="127.0.0.1",
                    silence_logs=logging.CRITICAL,
                )
        self._client = self._connect(FIRST_ANSWER)
        self._count_threads()

    def _send(self, task: _Task) -> None:
        assert self._client is not None
        future = self._client.submit(_do, _versions(), os.getcwd(), task.function, *task.arguments, pure=False)
        self._running[future] = task

    def _wait(self) -> Iterator[int]:
        """Yield what is finished after at most a moment; bring the cluster back where it is lost."""
        from distributed import CancelledError, wait

        assert self._client is not None
        with contextlib.suppress(TimeoutError, CancelledError), self._client.as_current():
            wait(list(self._running), timeout=LOOK, return_when="FIRST_COMPLETED")
        for future in [future for future in self._running if future.status in ("finished", "error")]:
            task = self._running.pop(future)
            if future.status == "error":
                raise _explained(future)
            yield task.weight
        lost = [self._running.pop(future) for future in list(self._running) if future.status in ("cancelled", "lost")]
        if lost or self._client.status != "running":
            lost += self._running.values()
            self._running.clear()
            self._come_back()
            for task in lost:
                self._send(task)
        self._count_threads()

    def _come_back(self) -> None:
        """Connect anew to a scheduler that was lost.

        Raises:
            UserError: It does not come back.
        """
        self._close_client()
        self._client = self._connect(self._patience)

    def _connect(self, seconds: float) -> Client:
        """Return a client of the scheduler, which may take so many seconds to answer."""
        from distributed import Client

        end = time.monotonic() + seconds
        address = self._cluster.scheduler_address if self._cluster else self._workers.scheduler
        while True:
            try:
                with socket.create_connection(_host_and_port(address), timeout=FIRST_ANSWER):
                    pass  # a client that fails to connect is hard to get rid of, so the port is tried first
                return Client(address, timeout=FIRST_ANSWER, set_as_default=False)
            except OSError as error:
                if time.monotonic() > end:
                    problem = f"no Dask scheduler answers at {address} ({type(error).__name__})"
                    raise UserError(problem, "Start one with `dask scheduler`, or check the address.") from error
                time.sleep(LOOK)

    def _count_threads(self) -> None:
        """Learn how many threads there are; wait for the first.

        Raises:
            UserError: There is none for a long time.
        """
        assert self._client is not None
        end = time.monotonic() + self._patience
        while True:
            try:
                self._threads = sum(self._client.nthreads().values())
            except OSError:
                return  # the scheduler is lost: the next wait finds that out
            if self._threads:
                return
            if time.monotonic() > end:
                problem = f"the Dask scheduler {self._workers.scheduler} has had no worker for {self._patience:.0f} s"
                raise UserError(problem, "Start some with `dask worker ADDRESS --nthreads 1`, then run it again: it goes on.")
            time.sleep(LOOK)

    def _close(self) -> None:
        self._running.clear()
        self._close_client()
        if self._cluster is not None:
            self._cluster.close()

    def _close_client(self) -> None:
        if self._client is not None:
            with contextlib.suppress(TimeoutError):  # nobody is there to say goodbye to
                self._client.close(timeout=1)
            self._client = None


def _host_and_port(address: str) -> tuple[str, int]:
    """Return where a scheduler listens.

    Raises:
        UserError: It is no address.
    """
    found = re.fullmatch(r"\w+://(?P<host>[^/]+):(?P<port>\d+)/?", address)
    if found is None:
        raise UserError(f"'{address}' is no address of a Dask scheduler", "It looks like tcp://HOST:8786, or is the word local.")
    return found["host"].strip("[]"), int(found["port"])


def _explained(future: Future) -> BaseException:
    """Return why a piece of work failed."""
    from distributed import KilledWorker

    error: BaseException = future.exception()
    if isinstance(error, KilledWorker):
        remedy = "Give workers more memory, or make the pieces smaller (--shard-studies), then run it again: it goes on."
        return UserError("one piece of work ended several workers, perhaps for lack of memory", remedy)
    return error


_ONE_AT_A_TIME = threading.Lock()
"""Decoders are not made for threads: a worker with several does one piece of work at a time."""


def _do(versions: dict[str, str], folder: str, function: Callable[..., None], *arguments: object) -> None:
    """Do one piece of work in a worker, in the folder where the command was called.

    Raises:
        UserError: The worker's machine is not fit for it.
    """
    with _ONE_AT_A_TIME:
        _check_machine(versions, folder)
        with contextlib.chdir(folder):
            function(*arguments)


def _check_machine(versions: dict[str, str], folder: str) -> None:
    host = socket.gethostname()
    for name, own in _versions().items():
        if own != versions[name]:
            problem = f"the worker on {host} has {name} {own}, this command {versions[name]}"
            raise UserError(problem, "Install the same versions on all machines: uv sync --frozen.")
    if not os.path.isdir(folder):
        raise UserError(f"the worker on {host} has no folder {folder}", "Data and stores need the same paths on all machines.")


@cache
def _versions() -> dict[str, str]:
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "nothing"
