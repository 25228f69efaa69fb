"""What a finished store says about itself: counts, vocabulary, quarantine, hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lingula.core.errors import UserError
from lingula.core.files import sha256_of_file
from lingula.data.splits import SPLITS
from lingula.data.store_schema import INDEX_FILE, QUARANTINE_FILE, SHARD_FILE, SHARDS_FOLDER, STORE_VERSION, shard_name
from lingula.data.study import Source

LABEL_WORDS = {1: "present", 0: "absent", -1: "uncertain"}


class _Count:
    """Images, studies and patients of one split."""

    def __init__(self) -> None:
        self.images = self.images_with_text = 0
        self.studies: set[str] = set()
        self.patients: set[str] = set()

    def add(self, row: dict[str, Any]) -> None:
        self.images += 1
        self.images_with_text += any(text.strip() for _, text in row["sections"])
        self.studies.add(row["study_id"])
        self.patients.add(row["patient_id"])

    def values(self) -> dict[str, int]:
        return {
            "images": self.images,
            "images_with_text": self.images_with_text,
            "studies": len(self.studies),
            "patients": len(self.patients),
        }


def summarise_store(source: Source, settings: dict[str, Any], store: Path, shards: int) -> dict[str, Any]:
    """Count what the shards of a store hold and return the content of its `store.json`.

    Args:
        source: What the store was made of.
        settings: Settings of source and store.
        store: The store's folder.
        shards: How many shards it has, all of them finished.
    """
    counts = {split: _Count() for split in ("all", *SPLITS)}
    findings: dict[str, Counter[str]] = {}
    reasons = Counter[str]()
    listed = []
    for number in range(shards):
        folder = store / SHARDS_FOLDER / shard_name(number)
        listed.append({"name": folder.name, "sha256": sha256_of_file(folder / SHARD_FILE)})
        reasons.update(pq.read_table(folder / QUARANTINE_FILE).column("reason").to_pylist())
        for row in pq.read_table(
            folder / INDEX_FILE, columns=["study_id", "patient_id", "split", "sections", "labels"]
        ).to_pylist():
            for split in ("all", row["split"]):
                counts[split].add(row)
            for finding, value in row["labels"]:
                findings.setdefault(finding, Counter()).update([LABEL_WORDS[value]] if value is not None else [])
    return {
        "version": STORE_VERSION,
        "name": source.name,
        "citation": source.citation,
        "licence": source.licence,
        "settings": settings,
        "counts": {split: count.values() for split, count in counts.items()},
        "findings": {name: {word: findings[name][word] for word in LABEL_WORDS.values()} for name in sorted(findings)},
        "quarantined": reasons.total(),
        "quarantine_reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "shards": listed,
    }


def quarantine_lines(store: Path, reasons: Mapping[str, int]) -> list[str]:
    """Write why items were quarantined, most frequent reason first, and where their paths are, which may name patients."""
    return [*(f"{count:>8,}  {reason}" for reason, count in reasons.items()), _which(store)]


def nothing_readable(store: Path, reasons: Mapping[str, int]) -> UserError:
    """Return the error of a store that holds no image, with the reasons."""
    told = [*(f"{count:,} {reason}" for reason, count in reasons.items()), _which(store)] if reasons else ["the source had none"]
    problem = f"store {store} is empty, it holds no image: {'; '.join(told)}"
    return UserError(problem, "Mend the source, then prepare it anew with --overwrite.")


def _which(store: Path) -> str:
    return f"Which ones: column `path` of {store / SHARDS_FOLDER / '*' / QUARANTINE_FILE}"
