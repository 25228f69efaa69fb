"""A resumable queue: an experiment is a list of cells (arm and seed), each run in a process of its own, numbers kept as CSV."""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lingula.core.files import write_text

COLUMNS = ("arm", "seed", "quantity", "value", "low", "high")
SECONDS, CPU_SECONDS, MEMORY = "seconds in all", "CPU seconds in all", "peak memory (MiB)"


@dataclass(frozen=True, order=True)
class Cell:
    """One run of one arm.

    Args:
        arm: Name of the arm.
        seed: Seed of the training.
    """

    arm: str
    seed: int

    def folder(self, runs: Path) -> Path:
        """Return where its run goes."""
        return runs / f"{self.arm.replace(', ', '-').replace(' ', '_')}-{self.seed}"


@dataclass(frozen=True)
class Number:
    """One result.

    Args:
        quantity: What it is.
        value: How much; None where it is undefined.
        low: Low end of the 95 % interval, where there is one.
        high: High end.
    """

    quantity: str
    value: float | None
    low: float | None = None
    high: float | None = None


Work = Callable[[Cell], list[Number]]


def arguments(description: str | None, arms: Iterable[str]) -> argparse.ArgumentParser:
    """Return the options that every experiment has; `only` and `seeds` choose its cells."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(arms)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ARM", help=f"some of: {'; '.join(names)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1, help="cells at once")
    parser.add_argument("--minutes", type=float, help="begin no cell after so many")
    parser.add_argument("--summary", action="store_true", help="print the tables only")
    return parser


def in_order(first: Sequence[str], arms: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """Return the arms named first with every seed, then the others seed by seed."""
    return [Cell(arm, seed) for early in (True, False) for seed in seeds for arm in arms if (arm in first) == early]


def prepare_phantom(store: Path, studies: dict[str, int], size: int) -> None:
    """Make the phantom's store, or take the one that is there."""
    from lingula.data.phantom.source import PhantomSource
    from lingula.data.prepare import prepare
    from lingula.data.prepare_config import PrepareConfig

    source = PhantomSource(studies["train"], studies["val"], studies["test"], size=size)
    prepare(source, store, PrepareConfig(size=size))


def read(path: Path) -> dict[Cell, list[Number]]:
    """Return the numbers of the finished cells; nothing where the file is missing."""
    found: dict[Cell, list[Number]] = {}
    if not path.is_file():
        return found
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            value, low, high = (float(row[name]) if row[name] else None for name in ("value", "low", "high"))
            found.setdefault(Cell(row["arm"], int(row["seed"])), []).append(Number(row["quantity"], value, low, high))
    return found


def write(path: Path, results: dict[Cell, list[Number]]) -> None:
    """Replace the file as a whole, so that a kill never leaves half a cell in it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell, numbers in results.items():
        for number in numbers:
            ends = ("" if each is None else f"{each:.6g}" for each in (number.value, number.low, number.high))
            writer.writerow([cell.arm, cell.seed, number.quantity, *ends])
    write_text(path, text.getvalue())


def run_queue(cells: Sequence[Cell], work: Work, path: Path, workers: int = 1, minutes: float | None = None) -> int:
    """Run the cells that the file does not have yet, in order, and write each as it comes; return how many were run.

    Two queues may share a file: what the other has written since stays, and is not run again.

    Args:
        cells: What to run.
        work: Runs one cell; it must be importable by another process.
        path: The CSV file.
        workers: Cells at once.
        minutes: Begin no cell after so many minutes; None: no limit.
    """
    done, begun, count = read(path), time.monotonic(), 0
    waiting = [cell for cell in cells if cell not in done]
    if not waiting:
        return 0
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, maxtasksperchild=1) as pool:
        offered = _until(waiting, path, begun, minutes)
        for count, (cell, numbers) in enumerate(_results(pool, work, offered, workers), 1):
            write(path, {**read(path), cell: numbers})
            print(f"{cell.arm}, seed {cell.seed}: cell {count} of {len(waiting)}, {time.monotonic() - begun:.0f} s", flush=True)
    return count


def _until(cells: Iterable[Cell], path: Path, begun: float, minutes: float | None) -> Iterable[Cell]:
    for cell in cells:
        if minutes is not None and time.monotonic() - begun > 60 * minutes:
            return
        if cell not in read(path):
            yield cell


def _results(
    pool: multiprocessing.pool.Pool, work: Work, cells: Iterable[Cell], workers: int
) -> Iterable[tuple[Cell, list[Number]]]:
    """Hand out as many cells as there are workers, and a new one when one is done."""
    running: list[tuple[Cell, multiprocessing.pool.AsyncResult[list[Number]]]] = []
    for cell in cells:
        running.append((cell, pool.apply_async(measured, (work, cell))))
        while len(running) >= workers:
            yield from _finished(running)
    while running:
        yield from _finished(running)


def _finished(running: list[tuple[Cell, multiprocessing.pool.AsyncResult[list[Number]]]]) -> Iterable[tuple[Cell, list[Number]]]:
    for entry in list(running):
        if entry[1].ready():
            running.remove(entry)
            yield entry[0], entry[1].get()
    time.sleep(0.1)


def measured(work: Work, cell: Cell) -> list[Number]:
    """Run a cell, and add its seconds, those of the processor (which load beside it hardly changes) and its peak memory."""
    begun, busy = time.monotonic(), time.process_time()
    numbers = work(cell)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    taken = [Number(SECONDS, time.monotonic() - begun), Number(CPU_SECONDS, time.process_time() - busy)]
    return [*numbers, *taken, Number(MEMORY, peak)]


def summary(path: Path, quantities: Sequence[str], digits: int = 3, arms: Sequence[str] | None = None) -> str:
    """Return a Markdown table: one row per arm (all of them, or some), mean over seeds and the lowest and highest of them."""
    results = read(path)
    lines = ["| arm | seeds | " + " | ".join(quantities) + " |", "| --- " * (len(quantities) + 2) + "|"]
    for arm in dict.fromkeys(cell.arm for cell in results) if arms is None else arms:
        own = [{n.quantity: n.value for n in numbers} for cell, numbers in results.items() if cell.arm == arm]
        cells = [_spread([run.get(quantity) for run in own], digits) for quantity in quantities]
        lines.append(f"| {arm} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    places = digits if max(map(abs, known)) < 20 else 0
    mean = f"{sum(known) / len(known):.{places}f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.{places}f} to {max(known):.{places}f})"
