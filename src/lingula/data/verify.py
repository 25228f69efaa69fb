"""Whether a store is still what was written, and whether its splits are apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lingula.core.errors import UserError
from lingula.core.files import read_json, sha256_of_file
from lingula.core.progress import track
from lingula.data.store_schema import SHARD_FILE, SHARDS_FOLDER
from lingula.data.store_table import StoreTable


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a store.

    Args:
        severity: `error`: the store must not be used; `warning`: know it when you read results.
        message: What is wrong, one line.
    """

    severity: Literal["error", "warning"]
    message: str


def verify(store: StoreTable) -> list[Problem]:
    """Recompute every hash of a store and look for patients, images and texts that are in two splits, and for blank images.

    Exact duplicates only: images are compared by the hash of what is stored, texts letter by letter.
    """
    problems: list[Problem] = []
    shards = store.about["shards"]
    for shard in track(shards, "verifying", len(shards)):
        problems += [Problem("error", message) for message in _shard_problems(store, shard)]
    if not problems:
        problems += [Problem("error", message) for message in _pixel_problems(store)]
        problems += [Problem("warning", message) for message in _constant_images(store)]
    known = {shard["name"] for shard in shards}
    strangers = sorted(folder.name for folder in (store.path / SHARDS_FOLDER).iterdir() if folder.name not in known)
    problems += [Problem("warning", f"shard {name} does not belong to the store") for name in strangers]
    return problems + _split_problems(store) + _duplicate_problems(store)


def _shard_problems(store: StoreTable, shard: dict[str, Any]) -> list[str]:
    """Compare the files of one shard with the hashes taken when it was written."""
    folder = store.path / SHARDS_FOLDER / shard["name"]
    about = folder / SHARD_FILE
    if not about.is_file():
        return [f"shard {shard['name']}: {SHARD_FILE} is missing"]
    if sha256_of_file(about) != shard["sha256"]:
        return [f"shard {shard['name']}: {SHARD_FILE} has changed"]
    problems = []
    for name, expected in read_json(about)["files"].items():
        file = folder / name
        if not file.is_file():
            problems.append(f"shard {shard['name']}: {name} is missing")
        elif sha256_of_file(file) != expected:
            problems.append(f"shard {shard['name']}: {name} has changed")
    return problems


def _pixel_problems(store: StoreTable) -> list[str]:
    """Compare every stored image with the hash in its row of the index."""
    wrong = []
    for row, expected in enumerate(store.column("pixel_sha256")):
        try:
            found = store.content_sha256(row)
        except UserError as error:
            return [error.problem]
        if found != expected:
            wrong.append(store.column("row_id")[row])
    return [f"{len(wrong)} images do not match their index (first: {wrong[0]})"] if wrong else []


def _constant_images(store: StoreTable) -> list[str]:
    """Find images that show nothing."""
    blank = [name for row, name in enumerate(store.column("row_id")) if store.is_constant(row)]
    return [f"{len(blank)} images are constant (first: {blank[0]})"] if blank else []


def _split_problems(store: StoreTable) -> list[Problem]:
    patients = _splits_by(store.column("patient_id"), store)
    return [Problem("error", f"patient '{each}' is in {_list(splits)}") for each, splits in patients.items() if len(splits) > 1]


def _duplicate_problems(store: StoreTable) -> list[Problem]:
    problems = []
    hashes = store.column("pixel_sha256")
    counts = Counter(hashes)
    twins = [hash_ for hash_, count in counts.items() if count > 1]
    if twins:
        first = [name for name, hash_ in zip(store.column("row_id"), hashes, strict=True) if hash_ == twins[0]]
        extra = sum(counts[hash_] - 1 for hash_ in twins)
        problems.append(Problem("warning", f"{extra} images repeat another one (first: {', '.join(first[:3])})"))
    across = [splits for splits in _splits_by(hashes, store).values() if len(splits) > 1]
    if across:
        problems.append(Problem("warning", f"{len(across)} images are in more than one split ({_pairs(across)})"))
    texts = _splits_by([store.text(row) for row in range(len(store))], store)
    texts.pop("", None)
    shared = [splits for splits in texts.values() if len(splits) > 1]
    if shared:
        problems.append(
            Problem("warning", f"{len(shared)} of {len(texts)} distinct texts are in more than one split ({_pairs(shared)})")
        )
    return problems


def _splits_by(keys: Iterable[str], store: StoreTable) -> dict[str, set[str]]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for key, split in zip(keys, store.column("split"), strict=True):
        splits[key].add(split)
    return dict(splits)


def _list(splits: set[str]) -> str:
    return " and ".join(sorted(splits))


def _pairs(found: list[set[str]]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in Counter(_list(splits) for splits in found).most_common())
