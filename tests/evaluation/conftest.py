"""A small store and an encoder whose right answers are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

FINDINGS = ["Atelectasis", "Edema", "Pneumonia"]


class FakeStore:
    """The documented interface of a store, in memory; pixel [0, 0:2] holds the row's number."""

    def __init__(self, columns: dict[str, list[Any]], labels: np.ndarray, texts: list[str], name: str = "fake") -> None:
        count = len(texts)
        self.name, self.size, self.fingerprint = name, 8, f"store-{name}-{count}"
        self.findings = sorted(FINDINGS)
        self._labels, self._texts = labels.astype(np.float32), texts
        defaults: dict[str, list[Any]] = {
            "row_id": [f"r{i:04d}" for i in range(count)],
            "study_id": [f"s{i:04d}" for i in range(count)],
            "patient_id": [f"p{i // 2:04d}" for i in range(count)],
            "split": ["test"] * count,
            "modality": ["radiograph"] * count,
            "projection": ["PA"] * count,
            "licence": [""] * count,
            "extra": [{} for _ in range(count)],
        }
        self._columns = defaults | columns
        self.quarantine = pa.table({"study_id": ["x"], "path": ["x.png"], "reason": ["truncated"]})
        self.reads = 0

    def __len__(self) -> int:
        return len(self._texts)

    def column(self, name: str) -> list[Any]:
        return self._columns[name]

    def rows(self, split: str | None = None, with_text: bool | None = None, sections: Sequence[str] | None = None) -> np.ndarray:
        keep = np.ones(len(self), bool) if split is None else np.array(self._columns["split"]) == split
        if with_text is not None:
            keep &= np.array([bool(t) for t in self._texts]) == with_text
        return np.flatnonzero(keep)

    def pixels(self, row: int) -> np.ndarray:
        self.reads += 1
        image = np.zeros((8, 8), np.uint8)
        image[0, :2] = row // 256, row % 256
        return image

    def text(self, row: int, sections: Sequence[str] | None = None) -> str:
        return self._texts[row]

    def labels(self, rows: Sequence[int] | np.ndarray, findings: Sequence[str]) -> np.ndarray:
        return self._labels[np.asarray(rows, int)][:, [self.findings.index(f) for f in findings]]


class FakeEncoder:
    """Image latents given per row; a text points along the findings that it names (against them after "no")."""

    def __init__(
        self, latents: np.ndarray, texts: Callable[[str], np.ndarray], findings: Sequence[str] = (), name: str = "fake"
    ) -> None:
        self.name, self.fingerprint, self.findings = name, f"encoder-{name}", list(findings)
        self._latents, self._texts = latents, texts

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        rows = [int(p[0, 0]) * 256 + int(p[0, 1]) for p in pixels]
        features = self._latents[rows].astype(np.float32)
        if self.findings:
            return features, np.zeros((len(rows), 0), np.float32)
        return features, unit(features)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return unit(np.stack([self._texts(text) for text in texts]))

    def classify(self, features: np.ndarray) -> np.ndarray:
        return features[:, : len(self.findings)]


def unit(values: np.ndarray) -> np.ndarray:
    """Normalise rows."""
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)


def text_latent(text: str) -> np.ndarray:
    """Point along the findings a text names, and a little towards the number of its study."""
    latent = np.zeros(24)
    words = text.lower()
    for place, finding in enumerate(FINDINGS):
        if finding.lower() in words:
            before = words[: words.index(finding.lower())].rsplit(".", 1)[-1].split()
            latent[place] = -1.0 if set(before) & {"no", "without"} or "is absent" in words else 1.0
    if "study" in words:
        number = int(words.split("study")[1].split(".")[0])
        latent[4:] += np.random.default_rng(number).normal(size=20) * 0.4
    return latent


@pytest.fixture(scope="session")
def make_store() -> Callable[..., FakeStore]:
    return build_store


def build_store(count: int = 240, seed: int = 0, name: str = "fake", **columns: list[Any]) -> FakeStore:
    """Build a store with half train, a quarter val and test, patients of two studies, reports that tell the labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 3)) < 0.35).astype(float)
    texts = []
    for i in range(count):
        parts = [f if labels[i, j] else f"no {f.lower()}" for j, f in enumerate(FINDINGS)]
        texts.append(". ".join(parts) + f". study {i}.")
    splits = ["train" if i < count // 2 else "val" if i < 3 * count // 4 else "test" for i in range(count)]
    extra = [{"sex": "FM"[i % 2], "age": str(20 + i % 60), "source": "NIH" if i % 3 else "other"} for i in range(count)]
    return FakeStore({"split": splits, "extra": extra, **columns}, labels, texts, name)


@pytest.fixture(scope="session")
def make_encoder() -> Callable[..., FakeEncoder]:
    return build_encoder


def build_encoder(
    store: FakeStore, noise: float = 0.6, seed: int = 1, name: str = "fake", findings: Sequence[str] = ()
) -> FakeEncoder:
    """Build an encoder that sees what the report says, plus noise."""
    rng = np.random.default_rng(seed)
    latents = np.stack([text_latent(store.text(i) or "normal study 0.") for i in range(len(store))])
    return FakeEncoder(latents + noise * rng.normal(size=latents.shape), text_latent, findings, name)


@pytest.fixture(scope="session")
def store() -> FakeStore:
    return build_store()


@pytest.fixture(scope="session")
def encoder(store: FakeStore) -> FakeEncoder:
    return build_encoder(store)
