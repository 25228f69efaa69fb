"""Preparing on a Dask cluster that loses workers, its scheduler and, for a moment, its disk."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import prepare_driver
import pytest
from distributed import LocalCluster

from lingula.core import dask_pool
from lingula.core.errors import UserError
from lingula.core.task_pool import Workers, task_pool
from lingula.data import pixel_shelf, shard_pool
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.study import Picture, Study

SMALL = PrepareConfig(size=32, shard_studies=2)


def start_cluster(**options: Any) -> LocalCluster:
    """Start a scheduler with one worker, both in threads of this process, as quickly as it goes."""
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "host": "127.0.0.1", **options}
    return LocalCluster(dashboard_address=None, protocol="tcp", silence_logs=50, **options)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with start_cluster() as cluster:
        yield cluster


@pytest.fixture
def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def undisturbed(twelve: Path, tmp_path: Path) -> dict[str, str]:
    return _hashes(prepare(CsvSource(twelve), tmp_path / "undisturbed", SMALL, workers=1).store)


def _hashes(store: Path) -> dict[str, str]:
    files = sorted(file for file in store.rglob("*") if file.is_file())
    return {str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _at(cluster: LocalCluster) -> Workers:
    return Workers(scheduler=cluster.scheduler_address)


def test_a_cluster_writes_the_very_same_bytes_as_one_process(
    cluster: LocalCluster, twelve: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    summary = prepare(CsvSource(twelve), tmp_path / "store", SMALL, _at(cluster))
    assert _hashes(summary.store) == undisturbed
    assert (summary.shards_written, summary.shards_kept) == (6, 0)
    assert prepare(CsvSource(twelve), tmp_path / "store", SMALL, Workers(scheduler="tcp://127.0.0.1:1")).shards_kept == 6


def test_a_disk_that_stumbles_once_loses_nothing(
    cluster: LocalCluster, twelve: Path, tmp_path: Path, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stumbles = {"read": [OSError(errno.EIO, "hiccup")], "write": [OSError(errno.ESTALE, "hiccup")]}
    is_file, save = Path.stat, pixel_shelf._save

    def stat(path: Path, **options: Any) -> os.stat_result:
        if path.name == "07.png" and stumbles["read"]:
            raise stumbles["read"].pop()
        return is_file(path, **options)

    def write(path: Path, pixels: Any) -> None:
        if "00004" in str(path) and stumbles["write"]:
            raise stumbles["write"].pop()
        save(path, pixels)

    source = CsvSource(twelve)
    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(pixel_shelf, "_save", write)
    assert _hashes(prepare(source, tmp_path / "store", SMALL, _at(cluster)).store) == undisturbed
    assert stumbles == {"read": [], "write": []}


class Slow(CsvSource):
    """Takes a while over one image, the first time."""

    reached = threading.Event()

    def read(self, study: Study, image_index: int) -> Picture:
        if study.study_id.endswith("07.png") and not self.reached.is_set():
            self.reached.set()
            time.sleep(1)
        return super().read(study, image_index)


def test_a_scheduler_that_is_restarted_loses_nothing_and_counts_nothing_twice(
    twelve: Path, tmp_path: Path, undisturbed: dict[str, str], free_port: int
) -> None:
    done: list[Any] = []
    with start_cluster(scheduler_port=free_port) as first:
        work = threading.Thread(target=lambda: done.append(prepare(Slow(twelve), tmp_path / "store", SMALL, _at(first))))
        work.start()
        assert Slow.reached.wait(30)
    with start_cluster(scheduler_port=free_port):
        work.join(60)
    assert _hashes(done[0].store) == undisturbed
    assert done[0].counts["all"]["images"] == 12
    assert done[0].shards_written == 6


def _start(what: str, *words: object, **environment: object) -> subprocess.Popen[bytes]:
    """Start `dask scheduler` or `dask worker` in a process of its own that can be killed."""
    path = os.pathsep.join([str(Path(prepare_driver.__file__).parent), *filter(None, sys.path)])
    settings = {**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in environment.items()}}
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *map(str, words)]
    return subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for(file: Path, process: subprocess.Popen[Any]) -> int:
    """Wait until a reader stands at the gate; return its process."""
    while not (file.is_file() and file.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    return int(file.read_text())


@pytest.mark.soak
def test_a_killed_scheduler_that_is_started_again_loses_nothing_and_counts_nothing_twice(
    twelve: Path, tmp_path: Path, undisturbed: dict[str, str], free_port: int
) -> None:
    gate, address = tmp_path / "gate", f"tcp://127.0.0.1:{free_port}"
    gated = {"GATE": "images/07.png", "GATE_FILE": gate}
    host = ("--host", "127.0.0.1")
    worker = (address, "--nthreads", 1, "--no-nanny", *host)
    started = [_start("scheduler", *host, "--port", free_port), _start("worker", *worker, **gated)]
    done: list[Any] = []
    source = prepare_driver.GatedSource(twelve)
    work = threading.Thread(target=lambda: done.append(prepare(source, tmp_path / "store", SMALL, Workers(scheduler=address))))
    work.start()
    try:
        _wait_for(gate, started[1])
        started[0].kill()
        started += [_start("scheduler", *host, "--port", free_port), _start("worker", *worker, **gated)]
        first_again = tmp_path / "store" / "shards" / "00005"
        while not first_again.exists():
            assert work.is_alive()
            time.sleep(0.05)
        gate.unlink(missing_ok=True)  # the given-up worker, if it is still there, finishes its shard beside the new one
        work.join(60)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert _hashes(done[0].store) == undisturbed
    assert done[0].counts["all"]["images"] == 12
    assert done[0].shards_written == 6


def test_a_killed_worker_is_replaced_and_the_run_goes_on(twelve: Path, tmp_path: Path, undisturbed: dict[str, str]) -> None:
    gate = tmp_path / "gate"
    options = ["--scheduler", "local", "--worker-memory", "1GiB", "--shard-studies", "2"]
    process = prepare_driver.start(twelve, tmp_path / "store", *options, GATE="images/07.png", GATE_FILE=gate)
    worker = _wait_for(gate, process)
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert _hashes(tmp_path / "store") == undisturbed


def _do(workers: Workers, function: Callable[..., None], *arguments: object) -> list[int]:
    with task_pool(workers) as pool:
        return [*pool.submit(1, function, *arguments), *pool.drain()]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.soak
def test_work_that_kills_its_workers_is_given_up_with_one_clear_line() -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), pytest.raises(UserError, match="more memory"):
        _do(Workers(1, "local"), _die)


def test_errors_of_the_work_come_through(cluster: LocalCluster, twelve: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _do(_at(cluster), os.stat, "nowhere")
    shard = tmp_path / "gone" / "shards" / "00000"
    with pytest.raises(UserError, match=r"a worker does not see the store"):
        _do(_at(cluster), shard_pool._write, CsvSource(twelve), [], SMALL, shard, "x", None)
    assert not (tmp_path / "gone").exists()


def test_a_machine_with_other_versions_or_paths_is_refused() -> None:
    own = dask_pool._versions()
    with pytest.raises(UserError, match=re.escape("has pillow " + own["pillow"] + ", this command 1.0")):
        dask_pool._do({**own, "pillow": "1.0"}, os.getcwd(), print)
    with pytest.raises(UserError, match="has no folder /nowhere/at/all"):
        dask_pool._do(own, "/nowhere/at/all", print)


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_pool, "FIRST_ANSWER", 0.1)
    with pytest.raises(UserError, match="no Dask scheduler answers at tcp"):
        _do(Workers(scheduler="tcp://127.0.0.1:1"), print)
    for address in ("tpc", "tcp://", "127.0.0.1:8786", "tcp://host"):
        with pytest.raises(UserError, match=f"'{address}' is no address"):
            _do(Workers(scheduler=address), print)
    with start_cluster(n_workers=0) as empty:
        pool = dask_pool.DaskPool(_at(empty), patience=0.1)
        with pool, pytest.raises(UserError, match="has had no worker for 0 s"):
            list(pool.submit(1, print))
    with pytest.raises(UserError, match="a memory limit per worker needs a local cluster"):
        Workers(2, memory="1GiB")
