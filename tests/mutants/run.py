"""Mutation check: put one fault after the other into a copy of the source, run the tests, print which test saw it.

    make mutants                                       the test files named with each fault
    .venv/bin/python tests/mutants/run.py --all        all of `make test` against each fault (hours)
    .venv/bin/python tests/mutants/run.py --only gather

Leaves with exit code 1 where a fault survives; a fault whose text is not exactly once in its file is an error.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("pytest", "torch", "torch.utils.tensorboard", "timm", "transformers", "sklearn.linear_model", "pyarrow.parquet")


def apply(fault: Fault, source: Path) -> None:
    """Put a fault into a copy of the source.

    Raises:
        SystemExit: Its text is not exactly once in the file.
    """
    file = source / "lingula" / fault.file
    text = file.read_text(encoding="utf-8")
    if text.count(fault.right) != 1:
        sys.exit(f"error: '{fault.name}' does not apply: its text is {text.count(fault.right)} times in {fault.file}")
    file.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")


def preload() -> None:
    """Import what is heavy once, but nothing of lingula: every fault is tested in a fork of this process."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for name in HEAVY:
        importlib.import_module(name)
    if "lingula" in sys.modules:
        sys.exit("error: lingula was imported before the faults were seeded")


def test_with(source: Path, files: list[str], scratch: Path) -> tuple[int, str]:
    """Run tests against a source tree, in a fork; return pytest's exit code and its output."""
    process = multiprocessing.get_context("fork").Process(target=_pytest, args=(source, files, scratch))
    process.start()
    while process.exitcode is None:
        time.sleep(0.1)
    return process.exitcode, (scratch / "output").read_text(encoding="utf-8", errors="replace")


def _pytest(source: Path, files: list[str], scratch: Path) -> None:
    import pytest

    descriptor = os.open(scratch / "output", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(source)
    sys.path.insert(0, str(source))
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={scratch / 'tmp'}", *files])
    if not sys.modules["lingula"].__file__.startswith(str(source)):
        print("the copy was not tested")
        code = 99
    sys.stdout.flush()
    os._exit(int(code))


def check(fault: Fault, everything: bool) -> tuple[str, float]:
    """Return the first test that fails with the fault (empty: it survives), and the seconds that took.

    Raises:
        SystemExit: The tests could not be run at all.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        apply(fault, source)
        files = ["tests"] if everything else [f"tests/{name}" for name in fault.tests]
        code, output = test_with(source, files, Path(folder))
    if code not in (0, 1):
        sys.exit(f"error: pytest left with {code} for '{fault.name}':\n{output[-2000:]}")
    found = re.search(r"^(?:FAILED|ERROR) tests/(\S+?)(?:\[.*?\])?(?: - .*)?$", output, re.MULTILINE)
    return ("" if code == 0 else found.group(1) if found else "?"), time.monotonic() - began


def main() -> None:
    """Check all faults and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="run all of `make test` against each fault")
    parser.add_argument("--only", nargs="+", default=[""], help="only faults whose name holds one of these texts")
    chosen = parser.parse_args()
    faults = [fault for fault in FAULTS if any(text in fault.name for text in chosen.only)]
    for fault in faults:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(ROOT / "src" / "lingula", Path(folder) / "lingula", ignore=shutil.ignore_patterns("__pycache__"))
            apply(fault, Path(folder))
    preload()
    print("| fault | file | result | seconds |\n| --- | --- | --- | ---: |", flush=True)
    survived = 0
    for fault in faults:
        test, seconds = check(fault, chosen.all)
        survived += not test
        result = f"caught by `{test}`" if test else "**survived**"
        print(f"| {fault.name} | `{fault.file}` | {result} | {seconds:.0f} |", flush=True)
    print(f"\n{len(faults) - survived} of {len(faults)} caught")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
