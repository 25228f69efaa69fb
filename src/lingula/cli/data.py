"""`lingula data …`: make, count, check and look at stores."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import tyro

from lingula.core.config import Config
from lingula.core.errors import UserError
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig, ShardConfig, VolumeStoringConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.dicom_config import DicomConfig
from lingula.data.sources.sidecar_config import SidecarConfig

if TYPE_CHECKING:
    from lingula.data.sources.dicom_folder import DicomSource
    from lingula.data.sources.dicom_series import DicomSeriesSource
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
    projection: Literal["ct"] | None = None
    """ct: the images are CT volumes, and so is what the store holds; None: radiographs."""
    volumes: Annotated[VolumeStoringConfig, tyro.conf.arg(name="")] = field(default_factory=VolumeStoringConfig)
    """What is done to CT volumes."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes that read images."""
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

    def stored(self) -> PrepareConfig | PrepareVolumesConfig:
        """What a store of the chosen kind of images holds.

        Raises:
            UserError: An option is for the other kind of images.
        """
        for_radiographs = set(PrepareConfig.model_fields) - set(ShardConfig.model_fields)
        if self.projection is None:
            _refuse_options(self.volumes, set(VolumeStoringConfig.model_fields), "CT volumes", "Add --projection ct")
            return self.settings
        _refuse_options(self.settings, for_radiographs, "radiographs", "Leave out --projection ct")
        shards = {name: getattr(self.settings, name) for name in ShardConfig.model_fields}
        return PrepareVolumesConfig(**self.volumes.model_dump(), **shards)

    def run(self) -> None:
        """Prepare, and print what the store holds."""
        from lingula.data.prepare import prepare
        from lingula.data.sources.text_labels import TextLabels

        settings = self.stored()
        source = TextLabels(self.source()) if self.labels_from_text else self.source()
        summary = prepare(source, self.store, settings, workers=self.workers, overwrite=self.overwrite, **self.identifiers())
        everything = summary.counts["all"]
        print(f"{summary.store}: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in everything.items()))
        if summary.quarantined:
            print(f"{summary.quarantined:,} items could not be read and are quarantined:")
            for reason, count in summary.reasons.items():
                print(f"  {count:>6,}  {reason}")


def _refuse_options(config: Config, names: set[str], what: str, remedy: str) -> None:
    """Refuse options that would have no effect."""
    default = type(config)()
    changed = sorted(name for name in names if getattr(config, name) != getattr(default, name))
    if changed:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        raise UserError(f"{options} is for {what} only", f"{remedy}, or the option.")


@dataclass(kw_only=True)
class _PrepareReal(_Prepare):
    """What preparing patients' data needs besides."""

    keep_identifiers: bool = False
    """Write the ids of studies and patients as they are, instead of salted hashes of them."""
    salt_file: Path | None = None
    """File of the salt (16 bytes or more); the store's own, or else a random one, where none is given."""

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
    sidecar: Annotated[SidecarConfig, tyro.conf.arg(name="")] = field(default_factory=SidecarConfig)
    """Of CT: slope, intercept and voxel size that the files do not say."""

    def source(self) -> Source:
        """The table's rows as studies."""
        if self.projection == "ct":
            from lingula.data.sources.csv_volumes import CsvVolumeSource

            return CsvVolumeSource(self.table, self.root or self.table.parent, self.columns, self.sidecar)
        from lingula.data.sources.csv_table import CsvSource

        _refuse_options(self.sidecar, set(SidecarConfig.model_fields), "CT volumes", "Add --projection ct")
        return CsvSource(self.table, self.root or self.table.parent, self.columns)


@dataclass(kw_only=True)
class PrepareDicom(_PrepareReal):
    """Make a store from a folder of DICOM radiographs or CT series, with or without a table of reports and labels."""

    root: Path
    """Folder; every file below it is looked at."""
    table: Path | None = None
    """CSV file with a column SOPInstanceUID, StudyInstanceUID or AccessionNumber."""
    files: Annotated[DicomConfig, tyro.conf.arg(name="")] = field(default_factory=DicomConfig)
    """Which files are taken."""
    columns: Annotated[CsvConfig, tyro.conf.arg(name="")] = field(default_factory=CsvConfig)
    """Which column of the table is what."""

    def source(self) -> Source:
        """The folder's radiographs, or CT series, as studies."""
        source = self._ct_series() if self.projection == "ct" else self._radiographs()
        if source.skipped:
            print(f"{sum(source.skipped.values()):,} items of {self.root} are left out:")
            for reason, count in source.skipped.items():
                print(f"  {count:>6,}  {reason}")
        return source

    def _radiographs(self) -> DicomSource:
        from lingula.data.sources.dicom_folder import DicomSource

        return DicomSource(self.root, self.table, self.files, self.columns)

    def _ct_series(self) -> DicomSeriesSource:
        from lingula.data.sources.dicom_series import DicomSeriesSource

        _refuse_options(self.files, {"raw_images", "crop_border"}, "radiographs", "Leave out --projection ct")
        files = self.files
        if files.modalities == DicomConfig().modalities:
            files = files.model_copy(update={"modalities": ("CT",)})
        return DicomSeriesSource(self.root, self.table, files, self.columns)


@dataclass(kw_only=True)
class PreparePhantom(_Prepare):
    """Make a store of synthetic patients with exact ground truth; a test bench, never a claim about patients."""

    train: int = 5000
    """Training studies."""
    val: int = 500
    """Validation studies."""
    test: int = 1000
    """Test studies; their reports use phrasings that no training report has."""
    studies: int | None = None
    """Studies in all, in place of the three: a tenth for validation, a fifth for test, the rest for training."""
    seed: int = 0
    """Same seed, same bytes."""
    projections: tuple[Literal["PA", "AP", "lateral"], ...] = ("PA",)
    """Radiographs per study."""

    def source(self) -> Source:
        """The phantom's patients as studies; CT volumes are rendered with the voxels that the store asks for, 5 mm by default."""
        counts = (self.train, self.val, self.test)
        if self.studies is not None:
            counts = (self.studies - self.studies // 10 - self.studies // 5, self.studies // 10, self.studies // 5)
        if self.projection == "ct":
            from lingula.data.phantom.ct_source import SPACING, PhantomCtSource

            spacing = self.volumes.spacing or SPACING
            if not isinstance(spacing, float):
                raise UserError("the phantom's voxels are cubes", "Give one --spacing.")
            return PhantomCtSource(*counts, seed=self.seed, spacing=spacing)
        from lingula.data.phantom.source import PhantomSource

        size, depth = self.settings.size, self.settings.bit_depth
        return PhantomSource(*counts, seed=self.seed, size=size, projections=self.projections, bit_depth=depth)


@dataclass
class Describe:
    """Count what is in a store: splits, projections, texts, labels, sizes, licences, what could not be read."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store."""

    def run(self) -> None:
        """Print the tables."""
        from rich.console import Console

        from lingula.data.describe import describe
        from lingula.data.open_store import open_store

        console = Console()
        for table in describe(open_store(self.store)):
            console.print(table)


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
        from lingula.data.open_store import open_store

        kinds = ("present", "absent", "uncertain", "not mentioned")
        counts = write_labels(open_store(self.store), self.out)
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
