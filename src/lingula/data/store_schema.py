"""What a store holds: the columns of a shard's index, the quarantine, and the file names."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

STORE_VERSION = 1
STORE_FILE = "store.json"
"""Written last: a folder without it is an unfinished store."""
PREPARE_FILE = "prepare.json"
"""Written first: the settings that every shard of this store shares."""
SALT_FILE = "salt"
"""What the identifiers were hashed with, readable by its owner alone; no one who reads the store needs it."""
SHARDS_FOLDER = "shards"
PIXELS_FILE = "pixels.npy"
INDEX_FILE = "index.parquet"
QUARANTINE_FILE = "quarantine.parquet"
SHARD_FILE = "shard.json"
"""Fingerprint of what went into the shard and SHA-256 of its files."""

REGION_TYPE = pa.struct(
    [
        ("finding", pa.string()),
        ("kind", pa.string()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("x2", pa.float32()),
        ("y2", pa.float32()),
        ("mask", pa.binary()),
        ("phrase", pa.string()),
        ("sentence_index", pa.int32()),
    ]
)

INDEX_SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("study_id", pa.string()),
        ("image_index", pa.int32()),
        ("patient_id", pa.string()),
        ("split", pa.string()),
        ("modality", pa.string()),
        ("projection", pa.string()),
        ("sections", pa.map_(pa.string(), pa.string())),
        ("labels", pa.map_(pa.string(), pa.int8())),
        ("regions", pa.list_(REGION_TYPE)),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("scale", pa.float64()),
        ("pad_top", pa.int32()),
        ("pad_left", pa.int32()),
        ("pixel_sha256", pa.string()),
        ("path", pa.string()),
        ("licence", pa.string()),
        ("extra", pa.map_(pa.string(), pa.string())),
    ]
)

QUARANTINE_SCHEMA = pa.schema([("study_id", pa.string()), ("path", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class StoredRegion:
    """Where a finding (or an anatomical part) lies in a stored image.

    Args:
        finding: What it is.
        box: x1, y1, x2, y2 in stored pixels.
        has_mask: Whether `Store.mask` returns one.
        kind: anatomy, pathology or device where the source says so.
        phrase: The words of the report that name it.
        sentence_index: Which sentence of the report says so, counted from 0.
    """

    finding: str
    box: tuple[float, float, float, float]
    has_mask: bool = False
    kind: str = ""
    phrase: str = ""
    sentence_index: int | None = None


def shard_name(number: int) -> str:
    """Return the folder name of a shard.

    >>> shard_name(7)
    '00007'
    """
    return f"{number:05d}"
