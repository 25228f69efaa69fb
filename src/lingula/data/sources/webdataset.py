"""Images, text and labels in tar files, as WebDataset has them: members with one key are one sample.

Layout, of webdataset 1.0.2's code (tariterators.py): the key is a member's path up to the first dot of its file name, what
follows is its kind, in any case; names that begin with a dot, or with two underscores at both ends, belong to no sample.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lingula.core.errors import UserError
from lingula.data.sources.container_config import WebDatasetConfig
from lingula.data.sources.containers import ContainerStudies, Sample
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.rows import PROJECTIONS
from lingula.data.sources.tar_shards import DamagedTarError, Member, TarReader, read_members
from lingula.data.study import Study
from lingula.data.volume_reader import NIFTI

RADIOGRAPHS = ("png", "jpg", "jpeg", "dcm", "dicom")
VOLUMES = (*(ending.removeprefix(".") for ending in NIFTI), "nrrd", "mha")
TEXTS = ("txt", "json", "cls")
_KEY = re.compile(r"(?:\./)*((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)


@dataclass
class _Group:
    """The members with one key: images and texts by kind, and what is wrong with one of them."""

    images: dict[str, Member] = field(default_factory=dict)
    texts: dict[str, Member] = field(default_factory=dict)
    problem: str = ""


class WebDatasetSource(ContainerStudies):
    """The samples of the tar files below a folder; a sample is a study, with all of its images.

    `.txt` is a column `txt`, `.NAME.txt` a column NAME (`findings`), `.cls` a column `cls`, the fields of `.json` columns of
    their own. A study has its key as id where no column gives one, an image the shard's name and its member's
    (`shard-000000.tar/0001.png`). See `ContainerStudies`.
    """

    endings = (".tar", ".tar.gz", ".tgz")
    config: WebDatasetConfig

    def __init__(
        self,
        root: Path | str,
        config: WebDatasetConfig | None = None,
        columns: CsvConfig | None = None,
        volumes: bool = False,
    ) -> None:
        self._places: dict[str, tuple[str, int, int]] = {}
        super().__init__(root, config or WebDatasetConfig(), columns, volumes)
        self._tars = TarReader(self.root)

    def part(self, studies: Sequence[Study]) -> WebDatasetSource:
        """Return a source that knows the places of these studies' images only."""
        part = copy.copy(self)
        addresses = [image.path for study in studies for image in study.images]
        part._places = {address: self._places[address] for address in addresses if address in self._places}
        part._problems = {address: self._problems[address] for address in addresses if address in self._problems}
        return part

    def _scan(self) -> Iterator[Sample]:
        shards: dict[str, str] = {}
        for name in self.shards:
            for key, group in self._groups(name).items():
                if not group.images:
                    self.skipped["sample without an image"] += 1
                    continue
                if not self.config.keys_by_shard and shards.setdefault(key, name) != name:
                    problem = f"key '{key}' is in two shards below {self.root}, {shards[key]} and {name}"
                    raise UserError(
                        problem, "Leave one out with --shards, or say --keys-by-shard if keys start anew in each shard."
                    )
                yield from self._samples(name, key, group)

    def _samples(self, name: str, key: str, group: _Group) -> Iterator[Sample]:
        values, problem = _values(group.texts)
        for kind, member in group.images.items():
            address = f"{name}/{key}.{kind}"
            self._places[address] = (name, member.start, member.size)
            if group.problem or problem:
                self._problems[address] = group.problem or problem
            view = next((word for word in kind.split(".")[:-1] if word in PROJECTIONS), "")
            yield Sample(name, address, f"{name}/{key}" if self.config.keys_by_shard else key, dict(values), view)

    def _groups(self, name: str) -> dict[str, _Group]:
        """Group a shard's members by key; of one that is cut short, without the last key, which may not be whole."""
        groups: dict[str, _Group] = {}
        key = ""
        try:
            for member in read_members(self.root / name, lambda member: _kind(member).rpartition(".")[2] in TEXTS):
                if not _is_utf8(member.name):
                    self.skipped["member whose name is not UTF-8"] += 1
                    continue
                if not (found := _KEY.fullmatch(member.name)) or re.fullmatch(r"__.*__", Path(member.name).name):
                    self.skipped["member that belongs to no sample"] += 1
                    continue
                key, kind = found[1], found[2].lower()
                group = groups.setdefault(key, _Group())
                parts = group.images if self._is_image(kind) else group.texts if kind.rpartition(".")[2] in TEXTS else None
                if parts is None:
                    self.skipped[f"member of a kind that is not read (.{kind.rpartition('.')[2][:16]})"] += 1
                elif kind in parts:
                    group.problem = f"its sample has two members .{kind[:16]}"
                else:
                    parts[kind] = member
        except DamagedTarError as error:
            groups.pop(key, None)
            self._damaged(name, error.problem, f"go on with the {len(groups):,} samples before that")
        except OSError as error:
            self._damaged(name, f"cannot be read ({error.strerror})", "go on without it")
        return groups

    def _is_image(self, kind: str) -> bool:
        if self.config.image_members:
            return kind in {each.lower().removeprefix(".") for each in self.config.image_members}
        return any(f".{kind}".endswith(f".{ending}") for ending in (VOLUMES if self.volumes else RADIOGRAPHS))

    def _take(self, address: str) -> tuple[bytes, str]:
        name, start, size = self._places[address]
        return self._tars.read(name, start, size), address


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _kind(name: str) -> str:
    found = _KEY.fullmatch(name)
    return found[2].lower() if found else ""


def _values(texts: dict[str, Member]) -> tuple[dict[str, Any], str]:
    """Return what the members of a sample say by column, and what is wrong with one; text goes before a field of its name."""
    fields: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for kind, member in texts.items():
        if member.text is None:
            return {}, f"its .{kind[:16]} is too large for text"
        try:
            text = member.text.decode("utf-8-sig")
            if kind.endswith("json"):
                fields |= _object(text)
            else:
                said[kind.removesuffix(".txt").removesuffix(".cls")] = text
        except ValueError as error:
            what = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "no JSON object"
            return {}, f"its .{kind[:16]} is {what}"
    return fields | said, ""


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: It is something else, or holds half of a character that takes two, which no table can.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    json.dumps(found, ensure_ascii=False).encode()
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found
