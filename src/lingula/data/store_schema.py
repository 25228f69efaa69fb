"""What a store holds: the columns of a shard's index, the quarantine, and the file names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

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
VOLUMES_FOLDER = "volumes"
"""Of a shard of volumes: `00003.b2nd` are the voxels of its fourth row, `00003.masks.b2nd` its masks, where it has any."""
INDEX_FILE = "index.parquet"
QUARANTINE_FILE = "quarantine.parquet"
SHARD_FILE = "shard.json"
"""Fingerprint of what went into the shard and SHA-256 of its files."""

Kind: TypeAlias = Literal["radiographs", "volumes"]
KINDS: dict[Kind, str] = {"radiographs": "radiographs", "volumes": "CT volumes"}
"""What the images of a store are, in words."""

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

_WHOSE = [
    ("row_id", pa.string()),
    ("study_id", pa.string()),
    ("image_index", pa.int32()),
    ("patient_id", pa.string()),
    ("split", pa.string()),
    ("modality", pa.string()),
    ("projection", pa.string()),
    ("sections", pa.map_(pa.string(), pa.string())),
    ("labels", pa.map_(pa.string(), pa.int8())),
]
_WHENCE = [
    ("pixel_sha256", pa.string()),
    ("path", pa.string()),
    ("licence", pa.string()),
    ("extra", pa.map_(pa.string(), pa.string())),
]


def index_schema(region: pa.DataType, geometry: list[tuple[str, pa.DataType]]) -> pa.Schema:
    """Return the columns of an index: what all stores have, with a kind of images' own regions and geometry."""
    return pa.schema([*_WHOSE, ("regions", pa.list_(region)), *geometry, *_WHENCE])


INDEX_SCHEMA = index_schema(
    REGION_TYPE,
    [
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("scale", pa.float64()),
        ("pad_top", pa.int32()),
        ("pad_left", pa.int32()),
    ],
)
"""Index of a shard of radiographs."""

VOLUME_REGION_TYPE = pa.struct(
    [
        ("finding", pa.string()),
        ("kind", pa.string()),
        *((name, pa.float32()) for name in ("x1", "y1", "z1", "x2", "y2", "z2")),
        ("mask", pa.int32()),
        ("phrase", pa.string()),
        ("sentence_index", pa.int32()),
    ]
)
"""`mask` is the number of the region's layer in the file of masks."""

VOLUME_INDEX_SCHEMA = index_schema(
    VOLUME_REGION_TYPE,
    [
        ("shape", pa.list_(pa.int32(), 3)),
        ("spacing", pa.list_(pa.float64(), 3)),
        ("affine", pa.list_(pa.float64(), 16)),
        ("hu_min", pa.int16()),
        ("hu_max", pa.int16()),
        ("source_shape", pa.list_(pa.int32(), 3)),
        ("source_spacing", pa.list_(pa.float64(), 3)),
        ("source_orientation", pa.string()),
    ],
)
"""Index of a shard of volumes: voxels along x, y and z, mm, and the affine row by row, which maps voxels to mm, RAS+."""

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


@dataclass(frozen=True)
class StoredVolumeRegion:
    """Where a finding (or an anatomical part) lies in a stored volume.

    Args:
        finding: What it is.
        box: x1, y1, z1, x2, y2, z2 in stored voxels, measured at their outer edges: that of the first voxel is 0, 0, 0, 1, 1, 1.
        has_mask: Whether `VolumeStore.mask` returns one.
        kind: anatomy, pathology or device where the source says so.
        phrase: The words of the report that name it.
        sentence_index: Which sentence of the report says so, counted from 0.
    """

    finding: str
    box: tuple[float, float, float, float, float, float]
    has_mask: bool = False
    kind: str = ""
    phrase: str = ""
    sentence_index: int | None = None


def kind_of(settings: dict[str, Any]) -> Kind:
    """Return what the images of a store are, by its settings; stores of radiographs do not say."""
    kind: Kind = settings.get("kind", "radiographs")
    return kind


def shard_name(number: int) -> str:
    """Return the folder name of a shard.

    >>> shard_name(7)
    '00007'
    """
    return f"{number:05d}"
