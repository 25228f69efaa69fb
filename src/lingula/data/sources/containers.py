"""What data sets that come as shards have in common: rows of text cells, and images that workers take out one by one."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lingula.core.errors import UserError
from lingula.core.files import sha256_of
from lingula.data.readers import UnreadableImage, read_radiograph
from lingula.data.sources.cells import UNIT, check_columns, obvious_columns, text_of
from lingula.data.sources.container_config import ContainerConfig
from lingula.data.sources.csv_config import NONE, CsvConfig
from lingula.data.sources.csv_regions import RegionTables
from lingula.data.sources.csv_volumes import as_ct, read_or_quarantine
from lingula.data.sources.listed import ListedStudies
from lingula.data.sources.rows import RowReader
from lingula.data.sources.shard_files import find_shards, split_in_name
from lingula.data.sources.tables import Row, Table
from lingula.data.study import Picture, Scan, Study
from lingula.data.volume_reader import NIFTI, OTHERS


@dataclass(frozen=True)
class Sample:
    """One image and what is said of it.

    Args:
        shard: Name of the shard that it is in.
        address: What tells the image from all others: the shard's name, a slash, and where it is in there.
        key: Id of its study where no column gives one; empty: the address.
        values: What the shard says of it, by column, as parquet or JSON has it.
        view: Its projection where no column gives one, as a word.
    """

    shard: str
    address: str
    key: str
    values: dict[str, Any]
    view: str = ""


class ContainerStudies(ListedStudies, ABC):
    """The samples of the shards below a folder as studies; a subclass lists samples and takes out images.

    What is left out is counted in `skipped`; columns that were found by an obvious name are in `taken`. What a sample says is
    kept as text; its image is read by a worker, from a temporary file, by the readers of all other sources.

    Args:
        root: The folder, or one shard.
        config: Which files are shards.
        columns: Which column is what.
        volumes: Whether the images are CT volumes.

    Raises:
        UserError: A shard is missing or damaged, there is no image, or a column that was named is missing.
    """

    endings: ClassVar[tuple[str, ...]]
    """Of the names of shards."""

    def __init__(
        self, root: Path | str, config: ContainerConfig, columns: CsvConfig | None = None, volumes: bool = False
    ) -> None:
        self.config, self.columns, self.volumes = config, columns or CsvConfig(), volumes
        files = find_shards(Path(root), config, self.endings)
        self.root, self.shards = files.root, files.names
        self.name = self.columns.name or (Path(root).stem if Path(root).is_file() else self.root.resolve().name)
        self.citation, self.licence = self.columns.citation, "per image"
        self.skipped = Counter[str]()
        for reason, count in (("shard that is missing", len(files.missing)), ("folder that cannot be listed", files.unlisted)):
            if count:
                self.skipped[reason] = count
        self._problems: dict[str, str] = {}
        samples = list(self._scan())
        if not samples:
            counts = ", ".join(f"{reason}: {count}" for reason, count in self.skipped.items()) or "they are empty"
            raise UserError(
                f"the {len(self.shards):,} shards below {self.root} hold no image ({counts})", "Are they the right ones?"
            )
        self._studies = self._read(samples)
        sizes = (f"{name} {(self.root / name).stat().st_size}" for name in self.shards)
        self._settings: dict[str, object] = {
            "root": str(self.root.resolve()),
            "sha256": {"shards": sha256_of(*sizes), "samples": sha256_of(*(study.model_dump_json() for study in self._studies))},
            "skipped": dict(sorted(self.skipped.items())),
            "container": config.model_dump(mode="json"),
            "columns": self.columns.model_dump(mode="json"),
        }

    @abstractmethod
    def _scan(self) -> Iterator[Sample]:
        """Yield every image in order; what is wrong with one goes into `_problems`, under its address, and quarantines it."""

    @abstractmethod
    def _take(self, address: str) -> tuple[bytes, str]:
        """Return an image's bytes and the name of its file, as far as it is known.

        Raises:
            UnreadableImage: It is not there, or the shard is damaged.
        """

    def read(self, study: Study, image_index: int) -> Picture | Scan:
        """Read one image.

        Raises:
            UnreadableImage: It is broken or not there, or something else of its sample is broken.
        """
        address = study.images[image_index].path
        if address in self._problems:
            raise UnreadableImage(self._problems[address])
        data, name = self._take(address)
        with _as_file(data, _ending(data, name) if self.volumes else "") as path:
            return Scan(read_or_quarantine(path)) if self.volumes else Picture(read_radiograph(path))

    def _damaged(self, name: str, problem: str, remedy: str) -> None:
        """Refuse a shard, or count it as left out where that is allowed."""
        if not self.config.allow_missing:
            raise UserError(f"shard {self.root / name} {problem}", f"Download it again, or {remedy} with --allow-missing.")
        self.skipped["shard that is damaged or cut short"] += 1

    def _read(self, samples: list[Sample]) -> list[Study]:
        """Make a table of what the samples say, and studies of it."""
        _leave_out_internal(samples, self.columns)
        columns = list(dict.fromkeys(name for sample in samples for name in sample.values))
        named = self.columns.model_copy(update={"image_column": CsvConfig().image_column})
        check_columns(named, columns, str(self.root))
        config = obvious_columns(self.columns, columns)
        self.taken = {field: name for field, name in config if isinstance(name, str) and name != getattr(self.columns, field)}
        config = self._labelled(config, samples)
        rows = [self._row(sample, config, config.split_column not in (NONE, *columns)) for sample in samples]
        names = list(dict.fromkeys(name for row in rows for name in row))
        whole = [{name: row.get(name, "") for name in names} for row in rows]
        studies = RowReader(Table(self.root, names, whole, ""), config).studies(RegionTables(None, None))
        return as_ct(studies) if self.volumes else studies

    def _labelled(self, config: CsvConfig, samples: list[Sample]) -> CsvConfig:
        """Set labels apart: a list of findings is taken as it is, a mapping of findings to values has a column for each."""
        column, findings = config.labels_column, dict.fromkeys(config.finding_columns)
        whole = bool(self.config.class_names)
        for sample in samples:
            labels = sample.values.get(column)
            whole = whole or isinstance(labels, list)
            if isinstance(labels, dict):
                if both := sorted(set(labels) & set(sample.values)):
                    raise UserError(f"'{both[0]}' is a label and a column of {self.root}", "Rename one of them.")
                sample.values.update(labels)
                sample.values[column] = None
                findings |= dict.fromkeys(labels)
        separators = (UNIT,) if whole else config.separators
        return config.model_copy(update={"separators": separators, "finding_columns": tuple(findings)})

    def _row(self, sample: Sample, config: CsvConfig, split_by_name: bool) -> Row:
        classes = {config.labels_column: (self.config.class_names, UNIT)}
        row = {name: text_of(value, *classes.get(name, ())) for name, value in sample.values.items()}
        row[config.image_column] = sample.address
        for column, otherwise in ((config.study_id_column, sample.key), (config.view_column, sample.view)):
            if otherwise and column != NONE and not row.get(column):
                row[column] = otherwise
        split = split_in_name(sample.shard) if split_by_name else None
        return {**row, config.split_column: split} if split else row


def _leave_out_internal(samples: list[Sample], config: CsvConfig) -> None:
    """Drop the columns that tools write for themselves (`__key__`, `__url__`, `__index_level_0__`), unless one is asked for."""
    values = [value for value in config.model_dump().values() if isinstance(value, str | tuple)]
    asked = {name for value in values for name in ([value] if isinstance(value, str) else value)}
    for sample in samples:
        for name in [name for name in sample.values if name.startswith("__") and name.endswith("__") and name not in asked]:
            del sample.values[name]


@contextmanager
def _as_file(data: bytes, ending: str) -> Iterator[Path]:
    """Write bytes to a temporary file, as decoders in other processes and libraries take files only."""
    with tempfile.TemporaryDirectory(prefix="lingula-") as folder:
        path = Path(folder) / f"image{ending}"
        path.write_bytes(data)
        yield path


def _ending(data: bytes, name: str) -> str:
    """Return a volume's ending, from its name or else from how it begins."""
    ending = max((each for each in (*NIFTI, *OTHERS) if name.lower().endswith(each)), key=len, default="")
    if ending or not data:
        return ending
    return ".nii.gz" if data[:2] == b"\x1f\x8b" else ".nrrd" if data[:4] == b"NRRD" else ".nii"
