"""The shards of a data set below a folder: by pattern, in order, those that are missing named, the split in their names."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from lingula.core.errors import UserError, nearest
from lingula.data.sources.container_config import ContainerConfig
from lingula.data.sources.dicom_headers import files_below
from lingula.data.splits import ALIASES
from lingula.data.study import Split

LISTED = 3
"""How many missing shards an error names."""
MOST = 100_000
"""Names that a pattern may stand for."""
SPLIT_WORDS: dict[str, Split] = {**ALIASES, "eval": "test", "evaluation": "test"}
"""Words in the names of files and folders that tell the split, as `datasets` 5.2 takes them (its data_files.py)."""
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")
_COUNTED = re.compile(r"(.*)-(\d{5})-of-(\d{5})((?:-[0-9a-f]+)?)(\.\w+)")


@dataclass(frozen=True)
class ShardFiles:
    """The shards of a data set.

    Args:
        root: Folder that their names are relative to.
        names: Those that are there, in order.
        missing: Those that the pattern, or the other shards' names (`-00000-of-00002`), say there should be.
        unlisted: How many folders below the root cannot be listed.
    """

    root: Path
    names: list[str]
    missing: list[str]
    unlisted: int = 0


def find_shards(root: Path, config: ContainerConfig, endings: Sequence[str]) -> ShardFiles:
    """Find the shards below a folder, hidden files and folders aside; the folder may also be the one shard itself.

    Args:
        root: The folder, or a file.
        config: A pattern, and whether shards may be missing.
        endings: Of the names of shards.

    Raises:
        UserError: There is no such folder, no shard, or one is missing.
    """
    if root.is_file():
        if config.shards:
            raise UserError(f"--shards chooses among the files of a folder, and {root} is a file", "Leave it out.")
        return ShardFiles(root.parent, [root.name], [])
    if not root.is_dir():
        entries = root.parent.iterdir() if root.parent.is_dir() else ()
        near = nearest(root.name, (entry.name for entry in entries if entry.is_dir()))
        pattern = "Give the folder to --root and the pattern to --shards." if set("{*") & set(root.name) else ""
        raise UserError(f"no such folder of shards: {root}", pattern or near or "Check the path given to --root.")
    unlisted: list[OSError] = []
    below = [PurePath(name).as_posix() for name in files_below(root, unlisted.append)]
    found = [name for name in below if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    asked = list(_expanded(config.shards)) if config.shards else [f"*{ending}" for ending in endings]
    exact = {name for name in asked if not set("*?[") & set(name)}
    wild = [name for name in asked if name not in exact]
    names = [name for name in found if name in exact or any(fnmatch.fnmatchcase(name, pattern) for pattern in wild)]
    missing = [*sorted(exact - set(names)), *_gaps(names)]
    if strange := [name for name in names if not name.isprintable()]:
        raise UserError(f"the name of a shard below {root} is no text ({strange[0]!r})", "Rename it.")
    if not names:
        what = config.shards or " or ".join(f"*{ending}" for ending in endings)
        near = nearest(asked[0], found[:1000]) or (f"It holds {', '.join(found[:LISTED])}." if found else "It is empty.")
        raise UserError(f"no shard {what} in {root} or below", near)
    if missing and not config.allow_missing:
        first = ", ".join(missing[:LISTED])
        problem = f"{len(missing):,} of {len(missing) + len(names):,} shards are missing below {root} ({first}{_more(missing)})"
        raise UserError(problem, "Finish the download, or go on without them with --allow-missing.")
    return ShardFiles(root, names, missing, len(unlisted))


def split_in_name(name: str) -> Split | None:
    """Return the split that a shard's name, or else the folder it lies in, tells; None where no word of it does, or two do.

    >>> split_in_name("data/validation-00000-of-00002.parquet"), split_in_name("train/0000.tar"), split_in_name("cxr-01.tar")
    ('val', 'train', None)
    """
    for part in reversed(PurePosixPath(name).parts):
        said = {SPLIT_WORDS[word] for word in re.split(r"[-._ \d]+", part.lower()) if word in SPLIT_WORDS}
        if said:
            return said.pop() if len(said) == 1 else None
    return None


def _expanded(pattern: str) -> Iterator[str]:
    """Write out the braces of a pattern: `{000..012}` counts, `{a,b}` chooses.

    Raises:
        UserError: It stands for more names than a data set has.
    """
    counted, choice = _RANGE.search(pattern), _CHOICE.search(pattern)
    place = counted or choice
    if place is None:
        yield pattern
        return
    if counted:
        first, last = int(counted[1]), int(counted[2])
        if not 0 <= last - first < MOST:
            raise UserError(f"--shards: {counted[0]} stands for {last - first + 1:,} names", "Count upwards, from first to last.")
        words = [str(number).zfill(len(counted[1])) for number in range(first, last + 1)]
    else:
        words = place[1].split(",")
    for word in words:
        yield from _expanded(pattern[: place.start()] + word + pattern[place.end() :])


def _gaps(names: Sequence[str]) -> list[str]:
    """Name the shards that are not there though others count them (`train-00000-of-00002.parquet`)."""
    groups: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        if counted := _COUNTED.fullmatch(name):
            groups.setdefault((counted[1], counted[3], counted[5]), set()).add(int(counted[2]))
    return [
        f"{start}-{number:05d}-of-{count}{ending}"
        for (start, count, ending), there in groups.items()
        for number in range(int(count))
        if number not in there
    ]


def _more(missing: Sequence[str]) -> str:
    return ", …" if len(missing) > LISTED else ""
