"""What the public data sets have in common: a root folder, tables in it, a split by rule, files that may be missing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lingula.core.config import Config
from lingula.core.errors import UserError, nearest
from lingula.core.types import RegionMask
from lingula.data.readers import UnreadableImage, read_radiograph
from lingula.data.sources.dicom_headers import told_by_header
from lingula.data.sources.root_folder import IMAGES, RootFolder
from lingula.data.sources.rows import projection_of
from lingula.data.sources.split_lists import read_lists
from lingula.data.sources.tables import Table, read_table
from lingula.data.split_rules import Case, SplitRule
from lingula.data.study import ImageReference, Picture, Region, Scan, Split, Study

LISTS = "lists"
"""Name of the split that a folder of lists gives."""
NO_FINDING = ("No Finding", "No finding", "normal", "Normal")


class PublicConfig(Config):
    """How a public data set is split, and what happens to images that are not there."""

    split: str = ""
    """Name of the rule, as `lingula data audit` lists them; empty: the data set's own split, mended to be by patient."""
    split_lists: Path | None = None
    """Folder of train.txt, val.txt and test.txt, one image or study a line, instead of a rule; what no list names is left out."""
    allow_missing: bool = False
    """Go on without images that the tables list and that are not there."""


class PublicSource(ABC):
    """A public data set in its published layout; a subclass reads its tables in `_open` and makes studies of them.

    Args:
        root: The folder it was unpacked into.
        config: Split, and what to do about missing images.
        tables_only: Look at the tables alone; no image is looked for, and none can be read.

    Raises:
        UserError: A table is missing or has other columns, images are missing, or there is no such split.
    """

    name: str
    citation: str
    licence: str
    rules: Mapping[str, SplitRule]
    """Ways to split it; the first is the default."""
    settings_class: type[PublicConfig] = PublicConfig
    """Its own options, where it has any."""
    endings: tuple[str, ...] = IMAGES
    """Of the names of its images."""
    reports = False
    """Whether it can bring reports."""
    headers = False
    """Whether sex, age and view are read from the DICOM headers of its images, as no table tells them."""
    notes: tuple[str, ...] = ()
    """What is known about every split of it and matters when results are read."""

    def __init__(self, root: Path | str, config: PublicConfig | None = None, tables_only: bool = False) -> None:
        self.root = Path(root)
        self.config = config or PublicConfig()
        self.tables_only = tables_only
        self.skipped = Counter[str]()
        """What was left out, by reason."""
        self.hashes: dict[str, str] = {}
        self._check_rule()
        self.folder = RootFolder(self.root, self.endings)
        self._open()
        self._cases: list[Case] = []
        self._splits = self._plan()

    @abstractmethod
    def _open(self) -> None:
        """Read the tables; everything kept on `self` must be small enough to be pickled, or be named in `_heavy`."""

    @abstractmethod
    def _studies(self) -> Iterator[Study]:
        """Yield every study with all of its images, the split being the data set's own; its report may be added later."""

    def _positive(self, study: Study) -> bool:
        """Whether a study counts as positive where a split is stratified."""
        return any(value == 1 and finding not in NO_FINDING for finding, value in study.labels.items())

    _heavy: tuple[str, ...] = ()
    """Attributes that do not travel to worker processes."""

    def _complete(self, study: Study) -> Study:
        """Add what is read from a file of its own, e.g. the report."""
        return study

    def files(self, image: ImageReference) -> list[Path]:
        """Return the files that an image is read from."""
        return [self.root / image.path]

    def _draw(self, mask: str, height: int, width: int) -> RegionMask:
        """Turn a region's mask, as the tables write it, into pixels.

        Raises:
            ValueError: It cannot be drawn on an image of that size.
        """
        raise ValueError(f"{self.name} has no masks")

    def __iter__(self) -> Iterator[Study]:
        for study in self._present():
            split = self._splits[study.study_id]
            if split is not None:
                yield self._complete(study.model_copy(update={"split": split}))

    def __len__(self) -> int:
        return sum(split is not None for split in self._splits.values())

    def __getstate__(self) -> dict[str, Any]:
        """Travel to worker processes without tables and lists of files."""
        light = dict.fromkeys((*self._heavy, "folder"))
        return {**self.__dict__, **light, "_cases": [], "_splits": {}}

    def settings(self) -> dict[str, object]:
        """Return the root, hashes of the tables, the split and what was left out."""
        return {
            "root": str(self.root.resolve()),
            "sha256": dict(sorted(self.hashes.items())),
            "split": self.split_name,
            "skipped": dict(sorted(self.skipped.items())),
            "config": self.config.model_dump(mode="json"),
            **({"headers": "sex, age, view"} if self.headers else {}),
        }

    def read(self, study: Study, image_index: int) -> Picture | Scan:
        """Read one image and its masks.

        Raises:
            UnreadableImage: The file is broken or missing.
        """
        path = study.images[image_index].path
        pixels = read_radiograph(self.root / path)
        regions: list[Region] = []
        masks: list[RegionMask | None] = []
        problems: list[tuple[str, str]] = []
        for region in study.regions:
            if region.mask is None or region.image_index != image_index:
                continue
            try:
                mask = self._draw(region.mask, *pixels.shape)
                regions.append(region.model_copy(update={"box": _bounds(mask)}))
                masks.append(mask)
            except (ValueError, UnreadableImage) as error:
                problems.append((path, f"mask of '{region.finding}': {error}"))
        told = told_by_header(self.root / path) if self.headers else {}
        return Picture(pixels, regions, masks, problems, told, projection_of(told.get("view", "")))

    @property
    def rule(self) -> SplitRule:
        """How it is split, unless lists say so."""
        return self.rules[self.config.split or next(iter(self.rules))]

    @property
    def split_name(self) -> str:
        """How it is split: the rule's name, or `lists`."""
        return LISTS if self.config.split_lists is not None else self.config.split or next(iter(self.rules))

    def cases(self) -> Iterator[tuple[Case, Split | None]]:
        """Yield what is known of every study without reading its report, and the split that it got; None: it is left out."""
        yield from ((case, self._splits[case.study_id]) for case in self._cases)

    def check_apart(self) -> None:
        """Check that no patient is in two splits.

        Raises:
            UserError: One is; the split by patient is offered.
        """
        given: dict[str, Split] = {}
        shared: set[str] = set()
        for case, split in self.cases():
            if split and given.setdefault(case.patient_id, split) != split:
                shared.add(case.patient_id)
        if shared:
            why = f" ({self.rule.leak})" if self.rule.leak else ""
            problem = f"split '{self.split_name}' of {self.name} puts {len(shared):,} patients into two splits{why}"
            name = self.rule.instead or next(iter(self.rules))
            use = f"--split {name}" if name != self.split_name else "--split-lists with lists that keep patients apart"
            raise UserError(problem, f"Use {use}, or look at it with lingula data audit {self.name} --root {self.root}.")

    def _table(self, *patterns: str, need: Collection[str] = (), only: Collection[str] | None = None) -> tuple[str, Table]:
        """Read a table that must be there, with columns that it must have; return its path relative to the root, too."""
        path = self.folder.table(*patterns)
        table = read_table(self.root / path, None if only is None else {*only, *need})
        for column in need:
            table.require(column, f"as {self.name} publishes it")
        if not table.rows:
            raise UserError(f"table {table.path} has no row", "Download it again.")
        self.hashes[PurePosixPath(path).name] = table.sha256
        return path, table

    def _plan(self) -> dict[str, Split | None]:
        """Check that images are there, and give every study its split."""
        missing: list[str] = []
        listed: set[str] = set()
        names: list[list[str]] = []
        for study in self._studies():
            paths = [image.path for image in study.images]
            listed.update(paths)
            there = range(len(paths)) if self.tables_only else [n for n, path in enumerate(paths) if path in self.folder.files]
            if len(there) < len(paths):
                missing += [path for path in paths if path not in self.folder.files]
            if there:
                self._cases.append(self._case(study if len(there) == len(paths) else _with_images(study, list(there))))
                if self.config.split_lists is not None:
                    names.append([study.study_id, *paths])
        self._check_missing(missing, listed)
        if self.config.split_lists is not None:
            splits, unused = read_lists(self.config.split_lists, names)
            self._skip("study that no split list names", splits.count(None))
            self._skip("line of a split list without a study", unused)
        else:
            assert self.rule.assign is not None, "refused by _check_rule"
            splits = self.rule.assign(self._cases)
            self._skip(f"study that the split '{self.split_name}' leaves out", splits.count(None))
        return {case.study_id: split for case, split in zip(self._cases, splits, strict=True)}

    def _check_missing(self, missing: list[str], listed: set[str]) -> None:
        if not listed:
            raise UserError(
                f"the tables of {self.name} below {self.root} list no image", "Are they the published ones, and whole?"
            )
        if self.tables_only:
            return
        if len(missing) == len(listed):
            problem = f"none of the {len(listed):,} images of {self.name} is below {self.root} (looked for {missing[0]!r})"
            found = sorted(self.folder.images())
            near = nearest(missing[0], found[:1000]) or (f"There is {found[0]!r}." if found else "There is no image at all.")
            raise UserError(problem, near)
        if missing and not self.config.allow_missing:
            folders = Counter(PurePosixPath(path).parent.as_posix() for path in missing)
            where = ", ".join(f"{folder}: {count:,}" for folder, count in folders.most_common(3))
            problem = f"{len(missing):,} of {len(listed):,} images of {self.name} are missing (first: {missing[0]!r}; {where})"
            raise UserError(problem, "Finish the download, or go on without them with --allow-missing.")
        self._skip("image that is missing", len(missing))
        self._skip("image file without a row in the tables", len(self.folder.images() - listed))
        self._skip("folder that cannot be listed", len(self.folder.unlisted))

    def _present(self) -> Iterator[Study]:
        """Yield the studies with those of their images that are there; none without an image."""
        for study in self._studies():
            if self.tables_only or all(image.path in self.folder.files for image in study.images):
                yield study
                continue
            kept = [place for place, image in enumerate(study.images) if image.path in self.folder.files]
            if kept:
                yield _with_images(study, kept)

    def _case(self, study: Study) -> Case:
        frontal = sum(image.projection != "lateral" for image in study.images)
        return Case(study.study_id, study.patient_id, len(study.images), frontal, study.split, self._positive(study))

    def _skip(self, reason: str, count: int = 1) -> None:
        if count:
            self.skipped[reason] += count

    def _check_rule(self) -> None:
        name = self.config.split
        if name and name not in self.rules:
            raise UserError(f"{self.name} has no split '{name}'", nearest(name, self.rules) or f"It has {', '.join(self.rules)}.")
        if self.rule.assign is None and self.config.split_lists is None:
            problem = f"split '{name}' of {self.name} cannot be made: {self.rule.leak}"
            raise UserError(problem, f"Use --split {self.rule.instead}.")


def _with_images(study: Study, kept: list[int]) -> Study:
    """Return a study with some of its images, and the regions of these."""
    images: list[ImageReference] = [study.images[place] for place in kept]
    regions = [
        region.model_copy(update={"image_index": kept.index(region.image_index)})
        for region in study.regions
        if region.image_index in kept
    ]
    return study.model_copy(update={"images": images, "regions": regions})


def _bounds(mask: RegionMask) -> tuple[float, float, float, float]:
    if not mask.any():
        raise ValueError("it is empty")
    rows, columns = np.nonzero(mask)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
