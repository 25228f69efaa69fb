"""Splits from lists of images: one text file per split, as benchmarks publish them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lingula.core.errors import UserError
from lingula.data.sources.root_folder import IMAGES
from lingula.data.sources.tables import read_text
from lingula.data.splits import ALIASES, SPLITS
from lingula.data.study import Split
from lingula.data.volume_reader import NIFTI, OTHERS


def read_lists(folder: Path, names: Sequence[Sequence[str]]) -> tuple[list[Split | None], int]:
    """Return the split of every study by the lists in a folder, and how many of their lines name no study.

    Args:
        folder: Holds train.txt, val.txt (also valid.txt, dev.txt) and test.txt, those that there are; the first word of a line is
            the name of a study or an image, with or without folder and ending.
        names: The study's id and its images' paths, per study.

    Raises:
        UserError: There is no list, none of their lines is known, or a study is in two lists.
    """
    places = _index(names)
    splits: list[Split | None] = [None] * len(names)
    unused = 0
    for split, path in _files(folder).items():
        for line in read_text(path).splitlines():
            place = places.get(_without_ending(line.split()[0]), places.get(_bare(line.split()[0]))) if line.strip() else None
            if place is None:
                unused += bool(line.strip())
            elif splits[place] not in (None, split):
                problem = f"'{names[place][0]}' is in two lists of {folder}, {splits[place]} and {split}"
                raise UserError(problem, "Mend the lists.")
            else:
                splits[place] = split
    if not any(splits):
        raise UserError(f"no line of the lists in {folder} names an image of the data set", "Are they lists of this data set?")
    return splits, unused


def _files(folder: Path) -> dict[Split, Path]:
    found: dict[Split, Path] = {}
    for word, split in ALIASES.items():
        path = folder / f"{word}.txt"
        if path.is_file():
            found.setdefault(split, path)
    if not found:
        names = ", ".join(f"{split}.txt" for split in SPLITS)
        raise UserError(f"no list of a split in {folder}", f"It needs {names}, those that there are.")
    return found


def _index(names: Sequence[Sequence[str]]) -> dict[str, int]:
    """Map paths, and file names that only one study has, to the place of their study."""
    places: dict[str, int] = {}
    bare: dict[str, int] = {}
    for place, each in enumerate(names):
        for name in each:
            places[_without_ending(name)] = place
            bare[_bare(name)] = place if bare.get(_bare(name), place) == place else -1
    return {name: place for name, place in bare.items() if place >= 0} | places


def _bare(name: str) -> str:
    return PurePosixPath(_without_ending(name)).name


def _without_ending(name: str) -> str:
    ending = max((each for each in (*IMAGES, *NIFTI, *OTHERS) if name.lower().endswith(each)), key=len, default="")
    return PurePosixPath(name[: len(name) - len(ending)]).as_posix()
