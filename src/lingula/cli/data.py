"""`lingula data …`: make, count, check and look at stores."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import tyro

from lingula.core.errors import UserError
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.dicom_config import DicomConfig

if TYPE_CHECKING:
    from lingula.data.study import Source


class _Identifiers(TypedDict):
    hash_identifiers: bool
    salt: bytes | None


@dataclass(kw_only=True)
class _Prepare:
    """What preparing any source needs."""

    store: Path
    """Folder of the store to make, or to finish."""
    settings: Annotated[PrepareConfig, tyro.conf.arg(name="")] = field(default_factory=PrepareConfig)
    """What the store holds."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes that read images; with a scheduler of its own address its workers do."""
    scheduler: str = ""
    """Dask cluster that reads images: local (this machine, --workers processes) or an address (tcp://HOST:8786)."""
    worker_memory: str = ""
    """With --scheduler local: what one worker may take, e.g. 4GiB; one that takes more is restarted."""
    overwrite: bool = False
    """Replace a store that was made with other settings."""
    labels_from_text: bool = False
    """Also label each study with the 14 CheXpert findings that its report mentions; labels of the source itself stay."""

    def source(self) -> Source:
        """The studies to prepare."""
        raise UserError("no source", "Call lingula data prepare csv, dicom or phantom.")

    def identifiers(self) -> _Identifiers:
        """How `prepare` treats the ids of studies and patients: those of synthetic ones stay."""
        return {"hash_identifiers": False, "salt": None}

    def look_for_phi(self, source: Source) -> None:
        """Warn of what tells who a patient is, or refuse it: synthetic patients are nobody."""

    def run(self) -> None:
        """Prepare, and print what the store holds."""
        from lingula.core.task_pool import Workers
        from lingula.data.prepare import prepare
        from lingula.data.sources.text_labels import TextLabels

        own = self.source()
        self.look_for_phi(own)
        source = TextLabels(own) if self.labels_from_text else own
        workers = Workers(self.workers, self.scheduler, self.worker_memory)
        summary = prepare(source, self.store, self.settings, workers, self.overwrite, **self.identifiers())
        everything = summary.counts["all"]
        print(f"{summary.store}: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in everything.items()))
        if summary.quarantined:
            print(f"{summary.quarantined:,} items could not be read and are quarantined:")
            for reason, count in summary.reasons.items():
                print(f"  {count:>6,}  {reason}")


@dataclass(kw_only=True)
class _PrepareReal(_Prepare):
    """What preparing patients' data needs besides."""

    keep_identifiers: bool = False
    """Write the ids of studies and patients as they are, instead of salted hashes of them."""
    salt_file: Path | None = None
    """File of the salt (16 bytes or more); the store's own, or else a random one, where none is given."""
    strict_phi: bool = False
    """Refuse where headers or reports hold names, dates or numbers of patients, instead of a warning."""

    def look_for_phi(self, source: Source) -> None:
        """Warn of what tells who a patient is, or refuse it."""
        from lingula.data.phi import leaks_of, refuse, warn

        leaks = leaks_of(source)
        refuse(leaks) if self.strict_phi else warn(leaks)

    def identifiers(self) -> _Identifiers:
        """How `prepare` treats the ids of studies and patients: hashed unless asked."""
        from lingula.data.identifiers import read_salt

        if self.keep_identifiers and self.salt_file:
            raise UserError("--keep-identifiers and --salt-file exclude each other", "Give one of them.")
        return {"hash_identifiers": not self.keep_identifiers, "salt": read_salt(self.salt_file) if self.salt_file else None}


@dataclass(kw_only=True)
class PrepareCsv(_PrepareReal):
    """Make a store from a table with one row per image: image path, text, labels, patient, split, boxes, masks."""

    table: Path
    """CSV file."""
    root: Path | None = None
    """Folder that the image paths are relative to; the table's own folder where none is given."""
    columns: Annotated[CsvConfig, tyro.conf.arg(name="")] = field(default_factory=CsvConfig)
    """Which column is what."""

    def source(self) -> Source:
        """The table's rows as studies."""
        from lingula.data.sources.csv_table import CsvSource

        return CsvSource(self.table, self.root or self.table.parent, self.columns)


@dataclass(kw_only=True)
class PrepareDicom(_PrepareReal):
    """Make a store from a folder of DICOM radiographs, with or without a table of reports and labels."""

    root: Path
    """Folder; every file below it is looked at."""
    table: Path | None = None
    """CSV file with a column SOPInstanceUID, StudyInstanceUID or AccessionNumber."""
    files: Annotated[DicomConfig, tyro.conf.arg(name="")] = field(default_factory=DicomConfig)
    """Which files are taken."""
    columns: Annotated[CsvConfig, tyro.conf.arg(name="")] = field(default_factory=CsvConfig)
    """Which column of the table is what."""

    def source(self) -> Source:
        """The folder's radiographs as studies."""
        from lingula.data.sources.dicom_folder import DicomSource

        source = DicomSource(self.root, self.table, self.files, self.columns)
        if source.skipped:
            print(f"{sum(source.skipped.values()):,} items of {self.root} are left out:")
            for reason, count in source.skipped.items():
                print(f"  {count:>6,}  {reason}")
        return source


@dataclass(kw_only=True)
class PreparePhantom(_Prepare):
    """Make a store of synthetic patients with exact ground truth; a test bench, never a claim about patients."""

    train: int = 5000
    """Training studies."""
    val: int = 500
    """Validation studies."""
    test: int = 1000
    """Test studies; their reports use phrasings that no training report has."""
    seed: int = 0
    """Same seed, same bytes."""
    projections: tuple[Literal["PA", "AP", "lateral"], ...] = ("PA",)
    """Radiographs per study."""

    def source(self) -> Source:
        """The phantom's patients as studies."""
        from lingula.data.phantom.source import PhantomSource

        size, depth = self.settings.size, self.settings.bit_depth
        counts = (self.train, self.val, self.test)
        return PhantomSource(*counts, seed=self.seed, size=size, projections=self.projections, bit_depth=depth)


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
        from lingula.data.store import Store

        store, console = Store.open(self.store), Console()
        for table in describe(store):
            console.print(table)
        if self.page is not None:
            from lingula.data.data_page import write_data_page

            print(write_data_page(store, self.page, with_text=self.page_text))


@dataclass
class Label:
    """Read the 14 CheXpert findings out of the reports of a store, by rules, into a table."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store."""
    out: Path
    """CSV to write: one line per study; 1 present, 0 absent, -1 uncertain, blank not mentioned."""

    def run(self) -> None:
        """Write, and print the counts."""
        from lingula.data.label_table import write_labels
        from lingula.data.store import Store

        kinds = ("present", "absent", "uncertain", "not mentioned")
        counts = write_labels(Store.open(self.store), self.out)
        print(f"{'':<28}" + "".join(f"{kind:>15}" for kind in kinds))
        for finding, count in counts.items():
            print(f"{finding:<28}" + "".join(f"{count[kind]:>15,}" for kind in kinds))
        print(self.out)


@dataclass
class Verify:
    """Check hashes, patient overlap between splits and duplicates; exit code 1 where something is wrong."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store."""

    def run(self) -> None:
        """Print every problem."""
        from lingula.data.store import Store
        from lingula.data.verify import verify

        store = Store.open(self.store)
        problems = verify(store)
        for problem in problems:
            print(f"{problem.severity}: {problem.message}")
        errors = sum(problem.severity == "error" for problem in problems)
        print(f"{self.store}: {len(store):,} images, {errors} errors, {len(problems) - errors} warnings")
        sys.exit(1 if errors else 0)


@dataclass
class Show:
    """Draw a contact sheet of a store (`lingula data show STORE`), or of synthetic patients (`lingula data show phantom`)."""

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
    images: int = 12
    """How many images, evenly spread over those that fit."""
    seed: int = 0
    """Which synthetic patients."""

    def run(self) -> None:
        """Draw, and say where it is."""
        if str(self.store) == "phantom":
            from lingula.data.phantom.preview import preview

            out = self.out or Path("phantom.png")
            preview(self.seed, out)
        else:
            from lingula.data.contact_sheet import draw_contact_sheet
            from lingula.data.store import Store

            out = self.out or self.store / "contact_sheet.png"
            store = Store.open(self.store)
            draw_contact_sheet(store, out, split=self.split, finding=self.finding, with_text=self.with_text, count=self.images)
        print(out)
