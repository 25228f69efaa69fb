"""Whatever ends a preparation, the next call goes on, and the finished store is the one of an undisturbed run, byte by byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import prepare_driver
import pytest
from PIL import Image

from lingula.core.errors import UserError
from lingula.core.lock import lock_file_of, locked
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.store_schema import SALT_FILE, SHARDS_FOLDER, STORE_FILE

SMALL = PrepareConfig(size=32, shard_studies=5)
MOUNT = "mount -t tmpfs -o size={size} tmpfs {folder}"


def _hashes(store: Path) -> dict[str, str]:
    files = sorted(file for file in store.rglob("*") if file.is_file())
    return {str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
def undisturbed(twelve: Path, tmp_path: Path) -> Path:
    return prepare(CsvSource(twelve), tmp_path / "undisturbed", SMALL, workers=1).store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "stores").mkdir()
    return tmp_path / "stores/store"


def _finish(table: Path, store: Path, undisturbed: Path, overwrite: bool = False) -> None:
    """Prepare again, in this process, and compare everything with the undisturbed store."""
    prepare(CsvSource(table), store, SMALL, workers=1, overwrite=overwrite)
    assert _hashes(store) == _hashes(undisturbed)
    assert Store.open(store).fingerprint == Store.open(undisturbed).fingerprint
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def _at_work(table: Path, store: Path, folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start prepare with two workers, and wait until one is held at an image; return the process and that worker's number."""
    gate = folder / "gate"
    process = prepare_driver.start(table, store, workers=2, GATE="images/07.png", GATE_FILE=gate)
    return process, _wait_for(gate, process)


def _wait_for(file: Path, process: subprocess.Popen[str]) -> int:
    """Wait until a reader stands at the gate; return its process."""
    while not (file.is_file() and file.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return int(file.read_text())


def _wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < end, f"process {pid} outlives its parent"
        time.sleep(0.02)


def _killed_at(step: int, table: Path, store: Path, *options: str) -> None:
    process = prepare_driver.start(table, store, *options, KILL_AT=step)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def _steps(table: Path, folder: Path) -> int:
    process = prepare_driver.start(table, folder / "counted", COUNT_FILE=folder / "count")
    assert process.wait() == 0
    return int((folder / "count").read_text())


@pytest.mark.parametrize("step", [2, 9, 23])
def test_killed_at_a_flush_or_rename(twelve: Path, store: Path, undisturbed: Path, step: int) -> None:
    _killed_at(step, twelve, store)
    with pytest.raises(UserError):
        Store.open(store)
    _finish(twelve, store, undisturbed)


@pytest.mark.parametrize("step", [9, 25, 26])
def test_killed_while_overwriting_the_old_store_stays_until_the_new_one_is_whole(
    twelve: Path, store: Path, undisturbed: Path, step: int
) -> None:
    prepare(CsvSource(twelve), store, PrepareConfig(size=48), workers=1)
    before = Store.open(store).fingerprint
    _killed_at(step, twelve, store, "--overwrite")
    if step < 26:
        assert Store.open(store).fingerprint == before
    else:
        with pytest.raises(UserError, match=r"was being replaced.*again"):
            Store.open(store)
    _finish(twelve, store, undisturbed, overwrite=step < 26)


def _killed_with_hashed_identifiers(table: Path, store: Path, step: int) -> None:
    """Kill, go on, and compare with the undisturbed store of the salt that there is in the end."""
    process = prepare_driver.start(table, store, keep_identifiers=False, KILL_AT=step)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    prepare(CsvSource(table), store, SMALL, workers=1, hash_identifiers=True)
    salt = (store / SALT_FILE).read_bytes().strip()
    whole = store.with_name("whole")
    prepare(CsvSource(table), whole, SMALL, workers=1, hash_identifiers=True, salt=salt)
    assert _hashes(store) == _hashes(whole)
    for folder in (store, whole):
        shutil.rmtree(folder)


@pytest.mark.parametrize("step", [3, 4, 12])
def test_killed_with_hashed_identifiers_every_study_keeps_its_name(twelve: Path, store: Path, step: int) -> None:
    _killed_with_hashed_identifiers(twelve, store, step)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_killed_at_every_flush_and_rename_with_hashed_identifiers(twelve: Path, store: Path, tmp_path: Path) -> None:
    process = prepare_driver.start(twelve, tmp_path / "counted", keep_identifiers=False, COUNT_FILE=tmp_path / "count")
    assert process.wait() == 0
    steps = int((tmp_path / "count").read_text())
    assert steps > 24
    for step in range(1, steps + 1):
        _killed_with_hashed_identifiers(twelve, store, step)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_killed_at_every_flush_and_rename(twelve: Path, store: Path, undisturbed: Path, tmp_path: Path) -> None:
    steps = _steps(twelve, tmp_path)
    assert steps == 24
    for overwrite in (False, True):
        for step in range(1, steps + 1 + 2 * overwrite):
            shutil.rmtree(store, ignore_errors=True)
            if overwrite:
                prepare(CsvSource(twelve), store, PrepareConfig(size=48), workers=1)
            _killed_at(step, twelve, store, *["--overwrite"] * overwrite)
            _finish(twelve, store, undisturbed, overwrite)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_killed_at_random_times_again_and_again(twelve: Path, store: Path, undisturbed: Path) -> None:
    chance = random.Random(0)
    began = time.monotonic()
    assert prepare_driver.start(twelve, store, workers=2).wait() == 0
    whole = time.monotonic() - began
    killed = 0
    for _ in range(10):
        shutil.rmtree(store)
        for _ in range(3):
            process = prepare_driver.start(twelve, store, workers=2)
            time.sleep(chance.uniform(0.3, 1) * whole)
            process.kill()
            killed += process.wait() == -signal.SIGKILL
        _finish(twelve, store, undisturbed)
    print(f"killed {killed} of 30 times")
    assert killed >= 10


def test_a_killed_worker_is_one_clear_line_and_the_next_call_goes_on(
    twelve: Path, store: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process, worker = _at_work(twelve, store, tmp_path)
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert re.search(r"a worker process died.*Run it again with fewer workers", line)
    assert "Traceback" not in said
    _finish(twelve, store, undisturbed)


def test_a_killed_parent_takes_its_workers_along_and_leaves_no_lock_in_the_way(
    twelve: Path, store: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process, worker = _at_work(twelve, store, tmp_path)
    process.kill()
    process.communicate()
    assert lock_file_of(store).is_file()
    _wait_until_gone(worker)
    _finish(twelve, store, undisturbed)


def test_two_at_once_the_second_is_told_who_is_at_work(twelve: Path, store: Path, undisturbed: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    process = prepare_driver.start(twelve, store, GATE="images/07.png", GATE_FILE=gate)
    _wait_for(gate, process)
    before = _hashes(store)
    for overwrite in (False, True):
        with pytest.raises(UserError) as refused:
            prepare(CsvSource(twelve), store, SMALL, workers=1, overwrite=overwrite)
        expected = rf"is locked: process {process.pid} on {re.escape(socket.gethostname())} is preparing it since 2\d\d\d-.*Wait"
        assert re.search(expected, str(refused.value))
    assert _hashes(store) == before
    gate.unlink()
    assert process.wait() == 0
    assert not lock_file_of(store).exists()
    _finish(twelve, store, undisturbed)


def test_the_lock_of_a_dead_process_is_taken_over_and_that_of_another_machine_is_not(
    twelve: Path, store: Path, undisturbed: Path
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holder = {"doing": "preparing", "host": socket.gethostname(), "pid": dead.pid, "since": "2026-01-01T00:00:00+00:00"}
    lock_file_of(store).write_text(json.dumps({**holder, "host": "elsewhere"}))
    with pytest.raises(UserError, match=rf"on elsewhere is preparing.*If it has ended, remove .*{lock_file_of(store).name}"):
        prepare(CsvSource(twelve), store, SMALL, workers=1)
    assert not store.exists()
    for content in (json.dumps(holder), "", "{"):
        lock_file_of(store).write_text(content)
        with locked(store, "testing"):
            assert json.loads(lock_file_of(store).read_text())["pid"] == os.getpid()
        assert not lock_file_of(store).exists()
    _finish(twelve, store, undisturbed)


def _many_in_the_second_shard(table: Path) -> None:
    """Let one study of the second shard have many images, so that its files are larger than those of the first."""
    header, *lines = table.read_text().splitlines()
    for number in range(20):
        shutil.copy(table.parent / "images/07.png", table.parent / f"images/more{number:02d}.png")
        lines.insert(8, lines[7].replace("07.png", f"more{number:02d}.png"))
    study = [str(min(number, 7) if number < 28 else number) for number in range(len(lines))]
    rows = [f"{line},s{name}" for line, name in zip(lines, study, strict=True)]
    table.write_text("\n".join([f"{header},study_id", *rows]) + "\n")


def _said_full(said: str) -> None:
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert re.search(r"no space left to write .*Free some space, then run the same command again", line)
    assert "Traceback" not in said


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_cannot_grow_is_one_clear_line_and_the_next_call_goes_on(
    twelve: Path, store: Path, tmp_path: Path, workers: int
) -> None:
    _many_in_the_second_shard(twelve)
    undisturbed = prepare(CsvSource(twelve), tmp_path / "undisturbed", SMALL, workers=1).store
    process = prepare_driver.start(twelve, store, workers=workers, FILE_LIMIT=15_000)
    _, said = process.communicate()
    assert process.returncode == 2
    _said_full(said)
    assert "00000" in [folder.name for folder in (store / "shards").iterdir()]
    assert "00001" not in [folder.name for folder in (store / "shards").iterdir()]
    _finish(twelve, store, undisturbed)


def _can_mount() -> bool:
    """Whether this machine lets us mount a small disk in a name space of our own."""
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "-Urm", "sh", "-c", MOUNT.format(size="1m", folder="/mnt")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("size", ["40k", "60k"] if _can_mount() else [])
def test_a_full_disk_is_one_clear_line_and_the_next_call_goes_on(
    twelve: Path, tmp_path: Path, undisturbed: Path, size: str
) -> None:
    (tmp_path / "disk").mkdir()
    store = tmp_path / "disk/store"
    words = ["data", "prepare", "csv", "--table", str(twelve), "--store", str(store), "--workers", "1"]
    words += ["--size", "32", "--shard-studies", "5", "--keep-identifiers"]
    call = shlex.join([sys.executable, "-c", "from lingula.cli import main; main()", *words])
    script = f"""
{MOUNT.format(size=size, folder=tmp_path / "disk")}
{call}; echo $? > {tmp_path}/first
ls -A {tmp_path}/disk > {tmp_path}/left
mount -o remount,size=5m {tmp_path}/disk
{call}; echo $? > {tmp_path}/second
cp -r {store} {tmp_path}/copy
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (tmp_path / "first").read_text() == "2\n", done.stderr
    assert (tmp_path / "second").read_text() == "0\n", done.stderr
    _said_full(done.stderr)
    assert (tmp_path / "left").read_text() in ("store\n", "")
    assert _hashes(tmp_path / "copy") == _hashes(undisturbed)


def test_a_place_that_cannot_be_written_says_so(twelve: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write /sys/none"):
        prepare(CsvSource(twelve), Path("/sys/none/store"), SMALL, workers=1)


def test_an_unreadable_block_quarantines_its_image_alone(twelve: Path, tmp_path: Path, undisturbed: Path) -> None:
    image = twelve.parent / "images/07.png"
    whole = image.read_bytes()
    image.unlink()
    image.symlink_to("/proc/self/mem")  # a regular file whose first byte cannot be read: the kernel answers EIO
    summary = prepare(CsvSource(twelve), tmp_path / "store", SMALL, workers=1)
    assert summary.reasons == {"read error: Input/output error": 1}
    store = Store.open(tmp_path / "store")
    assert store.quarantine.to_pylist() == [
        {"study_id": "images/07.png", "path": "images/07.png", "reason": "read error: Input/output error"}
    ]
    assert len(store) == 11
    image.unlink()
    image.write_bytes(whole)
    prepare(CsvSource(twelve), tmp_path / "store", SMALL, workers=1, overwrite=True)
    assert _hashes(tmp_path / "store") == _hashes(undisturbed)


def test_saved_pixels_are_the_bytes_of_numpy(undisturbed: Path, tmp_path: Path) -> None:
    import numpy as np

    file = undisturbed / "shards/00001/pixels.npy"
    np.save(tmp_path / "again.npy", np.load(file))
    assert (tmp_path / "again.npy").read_bytes() == file.read_bytes()
    assert Image.fromarray(np.load(file)[0]).size == (32, 32)


def test_a_shard_whose_description_is_cut_asks_to_be_replaced(twelve: Path, store: Path, undisturbed: Path) -> None:
    prepare(CsvSource(twelve), store, SMALL, workers=1)
    (store / STORE_FILE).unlink()
    description = store / SHARDS_FOLDER / "00001" / "shard.json"
    description.write_text(description.read_text()[:20])
    with pytest.raises(UserError, match=r"00001 holds other studies.*--overwrite"):
        prepare(CsvSource(twelve), store, SMALL, workers=1)
    _finish(twelve, store, undisturbed, overwrite=True)


def test_a_store_whose_settings_are_cut_asks_to_be_replaced(twelve: Path, store: Path, undisturbed: Path) -> None:
    prepare(CsvSource(twelve), store, SMALL, workers=1)
    (store / "prepare.json").write_text("{")
    with pytest.raises(UserError, match=r"prepare\.json is damaged"):
        prepare(CsvSource(twelve), store, SMALL, workers=1)
    _finish(twelve, store, undisturbed, overwrite=True)
