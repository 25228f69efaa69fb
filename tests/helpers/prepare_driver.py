"""`lingula data prepare csv` in a process of its own that a test can stop at a known point or kill there.

Everything is set by environment variables: KILL_AT (the process kills itself before its n-th flush or rename), COUNT_FILE (how
many there were is written there), GATE (path of an image: reading it writes the process id to GATE_FILE and waits until that
file is gone), FILE_LIMIT (largest file in bytes that may be written).
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lingula.data.sources.csv_table as csv_table
from lingula.cli import main
from lingula.data.study import Picture, Study


class GatedSource(csv_table.CsvSource):
    def read(self, study: Study, image_index: int) -> Picture:
        gate = Path(os.environ["GATE_FILE"])
        if study.images[image_index].path == os.environ["GATE"] and not gate.exists():
            gate.write_text(str(os.getpid()))
            while gate.exists():
                time.sleep(0.01)
        return super().read(study, image_index)


def start(
    table: Path, store: Path, *options: str, workers: int = 1, keep_identifiers: bool = True, **settings: Any
) -> subprocess.Popen[str]:
    """Start preparing a table; the settings are the environment variables."""
    code = "import prepare_driver; prepare_driver.run()"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in settings.items()}}
    words = f"data prepare csv --table {table} --store {store} --size 32 --shard-studies 5 --workers {workers}".split()
    words += ["--keep-identifiers"] * keep_identifiers
    command = [sys.executable, "-c", code, *words, *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run() -> None:
    if "GATE" in os.environ:
        csv_table.CsvSource = GatedSource  # type: ignore[misc]
    if "FILE_LIMIT" in os.environ:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["FILE_LIMIT"]), resource.RLIM_INFINITY))
    _count_steps(int(os.environ.get("KILL_AT", "0")), os.environ.get("COUNT_FILE"))
    main(sys.argv[1:])


def _count_steps(kill_at: int, count_file: str | None) -> None:
    steps = 0

    def counted(name: str) -> None:
        original = getattr(os, name)

        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if count_file:
                Path(count_file).write_text(str(steps))
            return original(*arguments, **options)

        setattr(os, name, step)

    for name in ("fsync", "rename", "replace"):
        counted(name)
