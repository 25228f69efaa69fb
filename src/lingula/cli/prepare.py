"""`lingula data prepare …`: make stores."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import tyro

from lingula.core.config import Config
from lingula.core.errors import UserError
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig, ShardConfig, VolumeStoringConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.dicom_config import DicomConfig
from lingula.data.sources.nifti_config import NiftiFolderConfig
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
        raise UserError("no source", "Call lingula data prepare csv, dicom, nifti, parquet, webdataset or phantom.")

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

    def look_for_phi(self, source: Source) -> None:
        """Warn of what tells who a patient is, or refuse it: synthetic patients are nobody."""

    def run(self) -> None:
        """Prepare, and print what the store holds."""
        from lingula.core.task_pool import Workers
        from lingula.data.prepare import prepare
        from lingula.data.sources.text_labels import TextLabels
        from lingula.data.store_summary import nothing_readable, quarantine_lines

        settings = self.stored()
        workers = Workers(self.workers, self.scheduler, self.worker_memory)
        own = self.source()
        self.look_for_phi(own)
        source = TextLabels(own) if self.labels_from_text else own
        summary = prepare(source, self.store, settings, workers, self.overwrite, **self.identifiers())
        everything = summary.counts["all"]
        print(f"{summary.store}: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in everything.items()))
        if not everything["images"]:
            raise nothing_readable(summary.store, summary.reasons)
        if summary.quarantined:
            print(f"{summary.quarantined:,} of the source's items could not be read and are quarantined:")
            print(*quarantine_lines(summary.store, summary.reasons), sep="\n")


def _refuse_options(config: Config, names: set[str], what: str, remedy: str) -> None:
    """Refuse options that would have no effect."""
    default = type(config)()
    changed = sorted(name for name in names if getattr(config, name) != getattr(default, name))
    if changed:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        raise UserError(f"{options} is for {what} only", f"{remedy}, or the option.")


def _print_skipped(skipped: dict[str, int], root: Path) -> None:
    if skipped:
        print(f"{sum(skipped.values()):,} items of {root} are left out:")
        for reason, count in skipped.items():
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
        _print_skipped(source.skipped, self.root)
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
class PrepareNifti(_PrepareReal):
    """Make a store from a folder of CT volumes (.nii, .nii.gz, .nrrd, .mha, .mhd) without text and labels."""

    root: Path
    """Folder; every file below it is looked at."""
    projection: Literal["ct"] | None = "ct"
    """Volumes are always CT."""
    folder: Annotated[NiftiFolderConfig, tyro.conf.arg(name="")] = field(default_factory=NiftiFolderConfig)
    """How the folder is laid out."""

    def source(self) -> Source:
        """The folder's volumes as studies."""
        from lingula.data.sources.nifti_folder import NiftiFolderSource

        source = NiftiFolderSource(self.root, self.folder)
        _print_skipped(source.skipped, self.root)
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
            from lingula.data.phantom.ct_source import PhantomCtSource

            return PhantomCtSource(*counts, seed=self.seed, spacing=self._voxel())
        from lingula.data.phantom.source import PhantomSource

        size, depth = self.settings.size, self.settings.bit_depth
        return PhantomSource(*counts, seed=self.seed, size=size, projections=self.projections, bit_depth=depth)

    def stored(self) -> PrepareConfig | PrepareVolumesConfig:
        """What the store holds; its voxels are those that are rendered, so a new volume is brought to them, too."""
        settings = super().stored()
        return settings.model_copy(update={"spacing": self._voxel()}) if isinstance(settings, PrepareVolumesConfig) else settings

    def _voxel(self) -> float:
        from lingula.data.phantom.ct_source import SPACING

        spacing = self.volumes.spacing or SPACING
        if not isinstance(spacing, float):
            raise UserError("the phantom's voxels are cubes", "Give one --spacing.")
        return spacing
