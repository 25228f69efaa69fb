"""Small shards: parquet files as Hugging Face `datasets` writes them, and tar files as WebDataset has them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
FEATURES = {
    "image": {"_type": "Image"},
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["NORMAL", "PNEUMONIA"], "_type": "ClassLabel"},
    "labels": {"feature": {"names": ["a", "b"], "_type": "ClassLabel"}, "_type": "List"},
    "age": {"dtype": "float32", "_type": "Value"},
}
"""As in the metadata of a file that datasets 5.2.0 wrote of such columns with `to_parquet`; older ones have `Sequence`."""
WRITTEN = {
    "image": "struct<bytes: binary, path: string>",
    "text": "string",
    "label": "int64",
    "labels": "list<element: int64>",
    "age": "float",
}
"""The types of that file, as pyarrow 26 names them when it reads it."""
TYPES = {"Image": PICTURE, "ClassLabel": pa.int64(), "string": pa.string(), "float32": pa.float32()}


def png(seed: int = 0, shape: tuple[int, int] = (20, 16), deep: bool = False) -> bytes:
    """Return a PNG of grey noise, of 8 or of 12 bits (in 16)."""
    noise = np.random.default_rng(seed)
    pixels = noise.integers(0, 4096, shape, np.uint16) if deep else noise.integers(0, 256, shape, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def picture(data: bytes | None, path: str | None = None) -> dict[str, Any]:
    """Return a cell of an image."""
    return {"bytes": data, "path": path}


def write_parquet(
    path: Path, rows: Sequence[Mapping[str, Any]], features: Mapping[str, Any] | None = None, group: int = 100
) -> Path:
    """Write rows with the types and the metadata of features; of columns without a feature pyarrow chooses the type.

    Args:
        path: The file.
        rows: Cells by column.
        features: By column, those of `FEATURES` that occur where nothing else is given; empty: a file that others wrote.
        group: Rows of a row group; older versions of datasets write 100.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    known = {name: FEATURES[name] for name in names if name in FEATURES} if features is None else features
    columns = [pa.array([row.get(name) for row in rows], _type_of(known[name]) if name in known else None) for name in names]
    metadata = {"huggingface": json.dumps({"info": {"features": dict(known)}})} if known else None
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = [pa.field(name, column.type) for name, column in zip(names, columns, strict=True)]
    pq.write_table(pa.table(columns, schema=pa.schema(fields, metadata)), path, row_group_size=group)
    return path


def _type_of(feature: Mapping[str, Any]) -> pa.DataType:
    if "feature" in feature:
        return pa.list_(_type_of(feature["feature"]))
    return TYPES[feature["dtype" if feature["_type"] == "Value" else "_type"]]


def write_tar(path: Path, members: Mapping[str, bytes | str | Mapping[str, Any]] | Sequence[tuple[str, bytes]]) -> Path:
    """Write a tar, packed where the name ends in gz; a mapping is written as JSON, text as UTF-8."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            text = json.dumps(content) if isinstance(content, Mapping) else content
            data = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    data = file.getvalue()
    path.write_bytes(gzip.compress(data) if path.suffix in (".gz", ".tgz") else data)
    return path
