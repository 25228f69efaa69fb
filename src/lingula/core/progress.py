"""Progress bars with the time left; sparse plain lines where no terminal is attached."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 15.0


class ProgressBar:
    """One bar: `advance()` it, `note()` what is worth seeing beside it; use it as a context manager.

    Args:
        description: What is being done, as a person would say it.
        total: How many steps there are.
        start: How many are already done (a resumed run).
        hidden: Show nothing (the other processes of a distributed run).
    """

    def __init__(self, description: str, total: int, start: int = 0, hidden: bool = False) -> None:
        self.description, self.total, self.done = description, total, start
        self._note = ""
        self._begun = self._printed = time.monotonic()
        self._start, self._hidden = start, hidden
        console = Console(stderr=True)
        self._rich = None
        if console.is_terminal and not hidden:
            bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
            self._rich = Progress(*bar, *times, console=console)
            self._task = self._rich.add_task(description, total=total, completed=start, note="")

    def __enter__(self) -> ProgressBar:
        if self._rich:
            self._rich.start()
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        if self._rich:
            self._rich.stop()
        elif kind is None:
            self._print()

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more as done."""
        self.done += steps
        if self._rich:
            self._rich.update(self._task, advance=steps)
        elif time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._print()

    def note(self, text: str) -> None:
        """Show a short text behind the bar, e.g. the current loss."""
        self._note = text
        if self._rich:
            self._rich.update(self._task, note=text)

    def _print(self) -> None:
        if self._hidden:
            return
        now = time.monotonic()
        self._printed = now
        steps = max(self.done - self._start, 1)
        left = (now - self._begun) / steps * (self.total - self.done)
        times = f"{now - self._begun:.0f} s, {left:.0f} s left"
        print(f"{self.description}: {self.done}/{self.total}, {times} {self._note}", file=sys.stderr)


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield the items while a bar shows how far it is.

    Args:
        items: What to walk through.
        description: What is being done.
        total: How many items there are; of none nothing is shown.
    """
    if not total:
        yield from items
        return
    with ProgressBar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()
