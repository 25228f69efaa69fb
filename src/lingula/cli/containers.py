"""`lingula data prepare parquet|webdataset`: data sets that come as shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from lingula.cli.prepare import _PrepareReal, _print_skipped, _refuse_options
from lingula.core.errors import UserError
from lingula.data.sources.container_config import ContainerConfig, WebDatasetConfig
from lingula.data.sources.csv_config import CsvConfig

if TYPE_CHECKING:
    from lingula.data.sources.containers import ContainerStudies
    from lingula.data.study import Source

REGIONS = {"boxes_table", "masks_table", "rle_dialect"}
"""Options of regions, which lie in tables beside a table."""


@dataclass(kw_only=True)
class _PrepareContainer(_PrepareReal):
    """What preparing any data set that comes as shards needs."""

    root: Path
    """Folder of the shards, or one shard."""
    columns: Annotated[CsvConfig, tyro.conf.arg(name="")] = field(default_factory=CsvConfig)
    """Which column is what; those that are not named are found by the obvious names (`caption` is text, `label` labels)."""

    def opened(self) -> ContainerStudies:
        """The shards' samples as studies."""
        raise UserError("no shards", "Call lingula data prepare parquet or webdataset.")

    def source(self) -> Source:
        """The shards' samples as studies; says what was left out, and which columns were taken for what."""
        _refuse_options(self.columns, REGIONS, "lingula data prepare csv", "Use that command")
        source = self.opened()
        _print_skipped(dict(source.skipped), self.root)
        if source.taken:
            print("columns: " + ", ".join(f"{field.removesuffix('_column')} = {name}" for field, name in source.taken.items()))
        return source


@dataclass(kw_only=True)
class PrepareParquet(_PrepareContainer):
    """Make a store from parquet files as Hugging Face `datasets` writes them: one row per image, or per list of images.

    Images are structs of bytes and path (PNG, JPEG, DICOM; with --projection ct .nii, .nii.gz, .nrrd, .mha), or bytes. Splits are
    those of the files' names (data/train-00000-of-00002.parquet) where no column gives them.
    """

    files: Annotated[ContainerConfig, tyro.conf.arg(name="")] = field(default_factory=ContainerConfig)
    """Which files are shards."""

    def opened(self) -> ContainerStudies:
        """The rows as studies."""
        from lingula.data.sources.parquet import ParquetSource

        return ParquetSource(self.root, self.files, self.columns, volumes=self.projection == "ct")


@dataclass(kw_only=True)
class PrepareWebDataset(_PrepareContainer):
    """Make a store from tar files as WebDataset has them, packed with gzip or not: members with one key are one study.

    Images are .png, .jpg, .jpeg, .dcm (with --projection ct .nii, .nii.gz, .nrrd, .mha); .txt is the report, .NAME.txt the
    section NAME, .json columns, .cls the labels. Splits are those of the files' names (train-000000.tar) where no column gives
    them.
    """

    files: Annotated[WebDatasetConfig, tyro.conf.arg(name="")] = field(default_factory=WebDatasetConfig)
    """Which files are shards, and what in them is an image."""

    def opened(self) -> ContainerStudies:
        """The samples as studies."""
        from lingula.data.sources.webdataset import WebDatasetSource

        _refuse_options(self.columns, {"image_column"}, "tables", "Use --image-members")
        return WebDatasetSource(self.root, self.files, self.columns, volumes=self.projection == "ct")
