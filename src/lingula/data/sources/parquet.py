"""Images, text and labels in parquet files, as Hugging Face `datasets` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from lingula.core.errors import UserError
from lingula.data.readers import UnreadableImage
from lingula.data.sources.cells import no_column
from lingula.data.sources.container_config import ContainerConfig
from lingula.data.sources.containers import ContainerStudies, Sample
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.parquet_shards import RowGroups, check_alike, image_columns, open_shard, read_texts, text_columns

OBVIOUS = ("image", "images")
"""Names of the column of images, where there are several such columns."""


class ParquetSource(ContainerStudies):
    """The rows of the parquet files below a folder; a row whose column of images is a list is a study of all of them.

    An image is told by shard and row (`data/train-00000-of-00002.parquet/17`, of a list `…/17.0`); splits are those of the
    files' names where no column gives them. See `ContainerStudies`.
    """

    endings = (".parquet",)

    def __init__(
        self,
        root: Path | str,
        config: ContainerConfig | None = None,
        columns: CsvConfig | None = None,
        volumes: bool = False,
    ) -> None:
        super().__init__(root, config or ContainerConfig(), columns, volumes)

    def _scan(self) -> Iterator[Sample]:
        first: pa.Schema | None = None
        for name in self.shards:
            path = self.root / name
            try:
                with open_shard(path) as file:
                    if first is None:
                        first = file.schema_arrow
                        self._groups = RowGroups(self.root, self._image_column(first))
                    check_alike(path, file.schema_arrow, first)
                    rows = list(read_texts(file, text_columns(first), self._groups.column))
            except (OSError, pa.ArrowException) as error:
                self._damaged(name, f"is damaged or no parquet file ({type(error).__name__})", "go on without it")
                continue
            for number, (values, images) in enumerate(rows):
                address = f"{name}/{number}"
                if images is None:
                    yield Sample(name, address, "", values)
                elif images == 0:
                    self.skipped["row without an image"] += 1
                for place in range(images or 0):
                    yield Sample(name, f"{address}.{place}", address, values)

    def _image_column(self, schema: pa.Schema) -> str:
        found, asked = image_columns(schema), self.columns.image_column
        if asked in found:
            return asked
        if asked in schema.names:
            raise UserError(f"column '{asked}' of {self.root} holds no images", f"These do: {', '.join(found) or 'none'}.")
        if asked != CsvConfig().image_column:
            raise no_column(asked, "named by --image-column", schema.names, str(self.root))
        obvious = [name for name in found if name.lower() in OBVIOUS] or found
        if len(obvious) == 1:
            return obvious[0]
        problem = f"{self.root} has {len(obvious) or 'no'} columns of images ({', '.join(obvious or schema.names)})"
        raise UserError(problem, "Name one with --image-column." if obvious else "They are of bytes, or of bytes and path.")

    def _take(self, address: str) -> tuple[bytes, str]:
        name, _, place = address.rpartition("/")
        row, _, number = place.partition(".")
        cell = self._groups.cell(name, int(row))
        cell = cell[int(number)] if number and cell else cell
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, "")
        if not data:
            raise UnreadableImage("its cell names a file and holds no bytes" if path else "its cell holds no image")
        return data, path or ""
