"""Parquet files as Hugging Face `datasets` writes them: images in cells, row groups read one at a time.

Layout, of files that datasets 5.2.0 wrote and of its code (arrow_dataset.py, arrow_writer.py, data_files.py): shards
`data/train-00000-of-00002.parquet` (older versions put a hash before the ending); an image is a struct of `bytes` and `path`;
the key `huggingface` of the schema's metadata holds JSON, info.features, in which a ClassLabel has its names; -1 is a class that
is not known. A row group holds at most 100 MB before compression, older versions at most 100 rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lingula.core.errors import UserError
from lingula.core.patience import patiently
from lingula.data.readers import UnreadableImage

BATCH = 1024
"""Rows whose text is converted at a time."""
FEATURES = b"huggingface"
IMAGES = ("Image", "Nifti", "Value")
"""Kinds of features that may hold a radiograph or a volume; sound, film and documents are structs of bytes and path, too."""


def open_shard(path: Path) -> pq.ParquetFile:
    """Open a parquet file; damaged pages that have a checksum are told.

    Raises:
        OSError, pa.ArrowException: It is missing or no parquet file.
    """
    return patiently(lambda: pq.ParquetFile(path, page_checksum_verification=True))


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """Return what `datasets` says of the columns, by name; nothing where it did not write the file."""
    try:
        features = json.loads((schema.metadata or {}).get(FEATURES, b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def image_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that hold images: bytes, structs of bytes and path, or lists of such structs."""
    features = features_of(schema)
    return [
        field.name
        for field in schema
        if _is_image(field.type) and _feature(features.get(field.name)).get("_type", "Value") in IMAGES
    ]


def text_columns(schema: pa.Schema) -> list[str]:
    """Return the columns without bytes in them."""
    return [field.name for field in schema if not _has_bytes(field.type)]


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of the classes that a column's numbers stand for, by column."""
    found = {name: _feature(feature) for name, feature in features_of(schema).items()}
    return {name: [str(each) for each in about["names"]] for name, about in found.items() if isinstance(about.get("names"), list)}


def read_texts(file: pq.ParquetFile, columns: Sequence[str], image: str) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Yield every row's cells without images, and how many images its list has; None where the column holds no lists.

    A class is given by name, as a list: names may hold any separator.

    Raises:
        OSError, pa.ArrowException: The file is damaged.
    """
    names = class_names(file.schema_arrow)
    lists = _is_list(file.schema_arrow.field(image).type)
    leaves = [file.metadata.schema.column(place).path for place in range(file.metadata.num_columns)] if lists else []
    counted = [leaf for leaf in leaves if leaf.startswith(f"{image}.") and leaf.endswith(".path")]  # without the bytes
    for batch in file.iter_batches(BATCH, columns=[*columns, *counted]):
        for row in batch.to_pylist():
            images = row.pop(image, None)
            cells = {name: _named(row.get(name), names[name]) if name in names else row.get(name) for name in columns}
            yield cells, len(images or ()) if lists else None


class RowGroups:
    """The image cells of shards, one row group in memory at a time; pickled, it holds none.

    Args:
        root: Folder of the shards.
        column: The column of images.
    """

    def __init__(self, root: Path, column: str) -> None:
        self._root, self.column = root, column
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"_root": self._root, "column": self.column}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def cell(self, name: str, row: int) -> Any:
        """Return one cell: bytes, or a mapping with `bytes` and `path`, or a list of them.

        Raises:
            UnreadableImage: The shard, or this part of it, is damaged or missing.
        """
        if self._name != name or not self._first <= row < self._first + len(self._cells):
            self._forget()
            try:
                patiently(lambda: self._load(name, row))
            except (OSError, IndexError, pa.ArrowException) as error:
                raise UnreadableImage(f"its part of the shard cannot be read ({type(error).__name__})") from error
        return self._cells[row - self._first].as_py()

    def _forget(self) -> None:
        self._name, self._first, self._cells = "", 0, pa.chunked_array([], pa.null())

    def _load(self, name: str, row: int) -> None:
        with open_shard(self._root / name) as file:
            first, group = 0, 0
            while row >= first + (count := file.metadata.row_group(group).num_rows):
                first, group = first + count, group + 1
            self._cells = file.read_row_group(group, columns=[self.column]).column(0)
            self._name, self._first = name, first


def check_alike(path: Path, schema: pa.Schema, first: pa.Schema) -> None:
    """Check that a shard has the columns of the first one.

    Raises:
        UserError: It has others.
    """
    if other := sorted(set(schema.names) ^ set(first.names)):
        problem = f"shard {path} differs from the first one in its columns ({', '.join(other[:5])})"
        raise UserError(problem, "Point --root or --shards at the files of one data set.")


def _named(value: Any, names: list[str]) -> Any:
    values = value if isinstance(value, list) else [value]
    known = [names[each] if isinstance(each, int) and 0 <= each < len(names) else None for each in values]
    return [name for name in known if name is not None]


def _feature(feature: Any) -> dict[str, Any]:
    """Return what is said of a column's values, of a list's those in it (`List`, before version 4 `Sequence`, or a JSON list)."""
    while isinstance(feature, list) or (isinstance(feature, dict) and "feature" in feature):
        feature = feature["feature"] if isinstance(feature, dict) else feature[0] if feature else {}
    return feature if isinstance(feature, dict) else {}


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_image(kind: pa.DataType) -> bool:
    if _is_list(kind):
        return bool(pa.types.is_struct(kind.value_type)) and _is_image(kind.value_type)
    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {field.name for field in kind} and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def _has_bytes(kind: pa.DataType) -> bool:
    if _is_list(kind):
        return _has_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_has_bytes(field.type) for field in kind)
    return _is_bytes(kind) or bool(pa.types.is_fixed_size_binary(kind))
