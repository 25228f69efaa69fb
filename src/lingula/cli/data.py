"""`lingula data …`: count, check and look at stores."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


@dataclass
class Describe:
    """Count what is in a store: splits, projections, texts, labels, sizes, licences, what could not be read."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store."""
    page: Path | None = None
    """Also write a page, one self-contained HTML file: tables, figures, contact sheets; it names no patient or study."""
    page_text: bool = False
    """Show report text on the page's contact sheets; what looks like a name, date or number is masked."""

    def run(self) -> None:
        """Print the tables, and where the page is."""
        from rich.console import Console

        from lingula.data.describe import describe
        from lingula.data.open_store import open_store

        store, console = open_store(self.store), Console()
        for table in describe(store):
            console.print(table)
        if self.page is not None:
            from lingula.data.data_page import write_data_page

            print(write_data_page(store, self.page, with_text=self.page_text))


@dataclass
class Label:
    """Read the 14 CheXpert or the 18 CT-RATE findings out of the reports of a store, by rules, into a table."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store."""
    out: Path
    """CSV to write: one line per study; 1 present, 0 absent, -1 uncertain, blank not mentioned."""
    vocabulary: Literal["chexpert", "ct-rate"] = "chexpert"
    """Which findings: the 14 of CheXpert, for radiographs, or the 18 of CT-RATE, for chest CT."""

    def run(self) -> None:
        """Write, and print the counts."""
        from lingula.data.label_table import write_labels
        from lingula.data.open_store import open_store

        kinds = ("present", "absent", "uncertain", "not mentioned")
        counts = write_labels(open_store(self.store), self.out, self.vocabulary)
        print(f"{'':<36}" + "".join(f"{kind:>15}" for kind in kinds))
        for finding, count in counts.items():
            print(f"{finding:<36}" + "".join(f"{count[kind]:>15,}" for kind in kinds))
        print(self.out)


@dataclass
class Verify:
    """Check hashes, patient overlap between splits and duplicates; exit code 1 where something is wrong."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store."""

    def run(self) -> None:
        """Print every problem."""
        from lingula.data.open_store import open_store
        from lingula.data.verify import verify

        store = open_store(self.store)
        problems = verify(store)
        for problem in problems:
            print(f"{problem.severity}: {problem.message}")
        errors = sum(problem.severity == "error" for problem in problems)
        print(f"{self.store}: {len(store):,} images, {errors} errors, {len(problems) - errors} warnings")
        sys.exit(1 if errors else 0)


@dataclass
class Show:
    """Draw a store (`lingula data show STORE`): radiographs, or three planes of CT volumes; or the phantom (`… show phantom`)."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store, or the word phantom."""
    out: Path | None = None
    """PNG to write; contact_sheet.png in the store, or phantom.png, where nothing is given."""
    split: Literal["train", "val", "test"] | None = None
    """Only images of this split."""
    finding: str | None = None
    """Only images that carry this finding."""
    with_text: bool | None = None
    """Only images with (--with-text True) or without (False) text."""
    images: int | None = None
    """How many images, evenly spread over those that fit; 12 radiographs or 4 volumes where nothing is given."""
    level: float = -300.0
    """Of CT: what is shown as mid-grey, HU."""
    width: float = 1500.0
    """Of CT: from black to white, HU."""
    seed: int = 0
    """Which synthetic patients."""

    def run(self) -> None:
        """Draw, and say where it is."""
        if str(self.store) == "phantom":
            from lingula.data.phantom.preview import preview

            out = self.out or Path("phantom.png")
            preview(self.seed, out)
        else:
            out = self.out or self.store / "contact_sheet.png"
            self._draw(out)
        print(out)

    def _draw(self, out: Path) -> None:
        from lingula.data.contact_sheet import draw_contact_sheet
        from lingula.data.open_store import open_store
        from lingula.data.store import Store
        from lingula.data.volume_sheet import Window, draw_volume_sheet

        store = open_store(self.store)
        if isinstance(store, Store):
            count = 12 if self.images is None else self.images
            draw_contact_sheet(store, out, split=self.split, finding=self.finding, with_text=self.with_text, count=count)
            return
        count, window = 4 if self.images is None else self.images, Window(self.level, self.width)
        chosen: dict[str, Any] = {"split": self.split, "finding": self.finding, "with_text": self.with_text, "count": count}
        draw_volume_sheet(store, out, window=window, **chosen)
