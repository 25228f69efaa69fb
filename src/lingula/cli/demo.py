"""`lingula demo` and `lingula tour`: the whole way on synthetic patients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Demo:
    """Phantom patients -> store -> CLIP, M-FLAG and a supervised model of the same budget -> tasks -> table and page."""

    folder: Path = Path("runs/demo")
    """Folder of the runs and of report.html."""
    store: Path = Path("stores/demo")
    """Folder of the phantom's store; kept, and used again by the next demo."""
    seed: int = 0
    """Of the training; the patients stay the same."""
    overwrite: bool = False
    """Replace the runs of an earlier demo."""

    def run(self) -> None:
        """Run everything and print the table."""
        from lingula.demo import run_demo

        run_demo(self.folder, self.store, self.seed, self.overwrite)


@dataclass
class Tour:
    """Phantom patients -> store -> G2D, CLIP and M-FLAG of the same budget -> every task -> table, page, overlays."""

    folder: Path = Path("runs/tour")
    """Folder of the runs and of report.html."""
    store: Path = Path("stores/demo")
    """Folder of the phantom's store, the demo's; kept, and used again."""
    seed: int = 0
    """Of the training; the patients stay the same."""
    overwrite: bool = False
    """Replace the runs of an earlier tour."""

    def run(self) -> None:
        """Run everything and print the table."""
        from lingula.tour import run_tour

        run_tour(self.folder, self.store, self.seed, self.overwrite)
