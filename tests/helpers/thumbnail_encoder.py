"""An encoder that sees the sixteen blocks of an image, for worker processes too; it can break down once, and counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lingula.data.reading import Reading


class ThumbnailEncoder:
    def __init__(self, log: Path | None = None, name: str = "thumbnail", latents: bool = True) -> None:
        self.name, self.fingerprint, self.findings = name, f"thumbnail-{name}-{latents}", []
        self.reading = Reading(size=16)
        self._log, self._latents = log, latents
        if log is not None and not log.exists():
            log.mkdir()
            (log / name).touch()
            (log / "seen").write_text("[]")

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        if self._log is not None:
            seen = json.loads((self._log / "seen").read_text())
            (self._log / "seen").write_text(json.dumps([*seen, len(pixels)]))
            if (self._log / "breaks").exists() and len(seen) == 1:
                raise RuntimeError("power cut")
        blocks = np.stack(pixels).reshape(len(pixels), 4, 4, 4, 4).mean(axis=(2, 4)).reshape(len(pixels), 16)
        features = blocks.astype(np.float32)
        return features, _unit(features) if self._latents else features[:, :0]

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return _unit(np.array([list(hashlib.sha256(text.encode()).digest()[:16]) for text in texts], np.float32))


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)
