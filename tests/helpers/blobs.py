"""A store with bright blobs, and encoders that ground by construction, by looking only, or by words only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lingula.data.store_schema import StoredRegion

SIZE, CELL = 16, 2
GREY = {"Alpha": 250, "Beta": 120}
"""Grey value of each finding's blob."""


class BlobStore:
    """The documented interface of a store, in memory; every image has one blob, a square of 4 pixels, on one side."""

    def __init__(self, rows: list[dict[str, Any]], name: str = "blobs") -> None:
        self.name, self.size, self.fingerprint = name, SIZE, f"store-{name}-{len(rows)}"
        self.findings = sorted(GREY)
        self.path = name
        self._rows = rows
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> list[Any]:
        if name == "study_id":
            return [f"s{number:03d}" for number in range(len(self))]
        if name == "extra":
            return [{} for _ in self._rows]
        if name == "regions":
            return [
                [{"finding": r.finding, "kind": r.kind, "phrase": r.phrase} for r in self.regions(number)]
                for number in range(len(self))
            ]
        return [row[name] for row in self._rows]

    def rows(self, split: str | None = None, with_text: bool | None = None, sections: Any = None) -> np.ndarray:
        return np.array([n for n, row in enumerate(self._rows) if split is None or row["split"] == split], int)

    def pixels(self, row: int) -> np.ndarray:
        image: np.ndarray = self._rows[row]["pixels"]
        return image

    def labels(self, rows: Sequence[int], findings: Sequence[str]) -> np.ndarray:
        shown = [{region.finding for region in self.regions(int(row))} for row in rows]
        return np.array([[float(finding in each) for finding in findings] for each in shown], np.float32)

    def regions(self, row: int) -> list[StoredRegion]:
        regions: list[StoredRegion] = self._rows[row]["regions"]
        return regions

    def mask(self, row: int, number: int) -> np.ndarray | None:
        self.asked.append((row, number))
        mask: np.ndarray | None = self._rows[row]["masks"][number]
        return mask


def build_blobs(count: int = 48, seed: int = 0, name: str = "blobs", masks: bool = True, regions: bool = True) -> BlobStore:
    """Build half train, a quarter val and test; the phrase names the finding and the patient's side."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        finding, side = ("Alpha", "Beta")[number % 2], ("right", "left")[(number // 2) % 2]
        top, left = int(rng.integers(0, 7)) * 2, int(rng.integers(0, 3)) * 2 + (0 if side == "right" else 8)
        mask = np.zeros((SIZE, SIZE), bool)
        mask[top : top + 4, left : left + 4] = True
        pixels = np.full((SIZE, SIZE), 20, np.uint8)
        pixels[mask] = GREY[finding]
        box = (float(left), float(top), float(left + 4), float(top + 4))
        region = StoredRegion(finding, box, masks, "pathology", f"{side} sided {finding.lower()}", 0)
        rows.append(
            {
                "row_id": f"r{number:03d}",
                "patient_id": f"p{number // 2:03d}",
                "projection": "PA",
                "split": "train" if number < count // 2 else "val" if number < 3 * count // 4 else "test",
                "pixels": pixels,
                "regions": [region] if regions else [],
                "masks": [mask if masks else None] if regions else [],
            }
        )
    return BlobStore(rows, name)


@dataclass
class GridEncoder:
    """Cells know their grey value, and their side of the image; texts what they name.

    Args:
        sees: Whether cells know their grey value.
        knows_sides: Whether cells and texts know sides.
        attends: Whether there are attention maps: the grey value.
        crop: Share of the image that is seen.
    """

    sees: bool = True
    knows_sides: bool = True
    attends: bool = True
    crop: float = 1.0
    name: str = "grid"
    findings: list[str] = field(default_factory=list)
    images_seen: int = 0
    texts_seen: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        return f"{self.name}-{self.sees}-{self.knows_sides}"

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        dense = self.dense_pixels(pixels)
        pooled = dense.mean(axis=(2, 3))
        return pooled, pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def dense_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        self.images_seen += len(pixels)
        return np.stack([self._cells(self._grid(image)) for image in pixels])

    def attention_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray | None:
        if not self.attends:
            return None
        maps = np.stack([self._grid(image) for image in pixels])
        return np.stack([maps, maps], axis=1) / maps.sum(axis=(1, 2))[:, None, None, None].clip(1e-6)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        self.texts_seen += texts
        return np.stack([_unit(np.array(self._words(text.lower()))) for text in texts])

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in text.split() if word.lower() not in {"alpha", "beta", "left", "right", "sided"}]

    def classify(self, features: np.ndarray) -> np.ndarray:
        return features

    def _grid(self, image: np.ndarray) -> np.ndarray:
        kept = round(len(image) * self.crop)
        start = (len(image) - kept) // 2
        seen = image[start : start + kept, start : start + kept]
        return seen.reshape(kept // CELL, CELL, kept // CELL, CELL).mean(axis=(1, 3)).astype(np.float32)

    def _cells(self, grid: np.ndarray) -> np.ndarray:
        """Latents: alpha, beta, image's left half, image's right half, a constant."""
        cells = np.zeros((5, *grid.shape), np.float32)
        cells[4] = 0.2
        if self.sees:
            cells[0], cells[1] = grid > 200, (grid > 60) & (grid < 200)
        if self.knows_sides:
            half = grid.shape[1] // 2
            cells[2, :, :half], cells[3, :, half:] = 0.4, 0.4
        return cells / np.linalg.norm(cells, axis=0)

    def _words(self, text: str) -> list[float]:
        sides = [0.4 * (side in text) if self.knows_sides else 0.0 for side in ("right", "left")]
        return [float("alpha" in text) * self.sees, float("beta" in text) * self.sees, *sides, 0.1]


def _unit(values: np.ndarray) -> np.ndarray:
    return values / max(float(np.linalg.norm(values)), 1e-9)
