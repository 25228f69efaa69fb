"""The store of radiographs: our prepared form of a source, read through memory maps."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from lingula.core.errors import UserError
from lingula.core.types import Pixels, RegionMask
from lingula.data.readers import fitted_shape
from lingula.data.store_schema import PIXELS_FILE, Kind, StoredRegion
from lingula.data.store_table import StoreTable

OPEN_SHARDS = 256
"""Memory maps kept open at a time; each holds one file descriptor."""


class Store(StoreTable):
    """One row per good radiograph: pixels, text, labels, regions and everything else that is known.

    Open it with `Store.open`. A store is cheap to pickle (its path travels, not its content).
    """

    kind: ClassVar[Kind] = "radiographs"

    def __init__(self, *content: Any) -> None:
        super().__init__(*content)
        self.size: int = self.about["settings"]["size"]
        self._pixels: OrderedDict[int, np.ndarray] = OrderedDict()

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, {len(self)} images of {self.size} px)"

    def pixels(self, row: int) -> Pixels:
        """Return one stored image, `size size`, uint8 or uint16, as a read-only view of the memory map.

        Raises:
            UserError: The shard's pixels are damaged.
        """
        shard, number = self._shard_of(row)
        pixels: Pixels = self._shard_pixels(shard)[number]
        return pixels

    def regions(self, row: int) -> list[StoredRegion]:
        """Return the regions of one image, boxes in stored pixels."""
        return [
            StoredRegion(
                finding=region["finding"],
                box=(region["x1"], region["y1"], region["x2"], region["y2"]),
                has_mask=region["mask"] is not None,
                kind=region["kind"],
                phrase=region["phrase"],
                sentence_index=region["sentence_index"],
            )
            for region in self.column("regions")[row]
        ]

    def mask(self, row: int, region: int) -> RegionMask | None:
        """Return the mask of one region of one image, `size size`, or None where it is only a box."""
        data = self.column("regions")[row][region]["mask"]
        if data is None:
            return None
        return np.array(Image.open(io.BytesIO(data)), dtype=bool)

    def summary(self) -> str:
        """Say what the store holds, in a few words."""
        return f"{len(self)} images of {self.size} x {self.size} px, {self.about['settings']['bit_depth']} bits"

    def sizes(self) -> dict[str, np.ndarray]:
        """Return the longer side of each image as it was read, pixels."""
        return {"longer side, px": np.maximum(self.column("height"), self.column("width")).astype(float)}

    def content_sha256(self, row: int) -> str:
        """Return the hash of one stored image, computed anew.

        Raises:
            UserError: The shard's pixels are damaged.
        """
        return hashlib.sha256(np.ascontiguousarray(self.pixels(row)).data).hexdigest()

    def is_constant(self, row: int) -> bool:
        """Whether one stored image shows nothing: every pixel, padding apart, is the same."""
        rows, columns, _ = fitted_shape(self.column("height")[row], self.column("width")[row], self.size)
        top, left = self.column("pad_top")[row], self.column("pad_left")[row]
        seen = self.pixels(row)[top : top + rows, left : left + columns]
        return bool(seen.min() == seen.max())

    def _shard_pixels(self, shard: int) -> np.ndarray:
        if shard in self._pixels:
            self._pixels.move_to_end(shard)
            return self._pixels[shard]
        file = self._shard_folder(shard) / PIXELS_FILE
        try:
            pixels: np.ndarray = np.load(file, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is damaged ({error})", "Prepare the store anew with --overwrite.") from None
        self._pixels[shard] = pixels
        if len(self._pixels) > OPEN_SHARDS:
            self._pixels.popitem(last=False)
        return pixels
