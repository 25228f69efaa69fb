"""Outputs of a frozen text encoder on disk: each distinct text is encoded once."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from lingula.core.errors import UserError
from lingula.core.files import atomic_folder, write_json
from lingula.core.precision import multiplies_fast_in_bf16
from lingula.core.progress import ProgressBar
from lingula.core.types import TextFeatures
from lingula.models.text_encoder import TextEncoder

PART_TEXTS = 16384
"""Texts that are encoded, sorted by length and committed together."""
BATCH_TOKENS = 8192
KEY_BYTES = 16


class TextCache:
    """Features of texts, memory-mapped, under the fingerprint of the encoder: a changed encoder finds an empty cache.

    Layout: `folder/<fingerprint>-<dtype>/part-<unique>/{keys,features}.npy`. A part is written once and appears by one
    rename, so a crash loses at most the part at work, and several processes can fill the same cache: each adds its own parts.

    Args:
        folder: Where caches of any encoder live.
        encoder: The frozen encoder.
        dtype: Storage type; float16 keeps three significant digits.

    Raises:
        ValueError: The encoder is not frozen.
    """

    def __init__(self, folder: Path, encoder: TextEncoder, dtype: Literal["float16", "float32"] = "float16") -> None:
        if not encoder.frozen:
            raise ValueError("only the outputs of a frozen text encoder can be cached")
        self.encoder, self.dtype = encoder, np.dtype(dtype)
        self.fingerprint = encoder.fingerprint()
        self._versions = self._count_changes()
        self.path = folder / f"{self.fingerprint[:32]}-{dtype}"
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._parts: list[np.ndarray] = []
        self._read: set[str] = set()
        self._refresh()

    def __len__(self) -> int:
        return len(self._rows)

    def fill(self, texts: Iterable[str], device: torch.device | str = "cpu", progress: bool = True) -> int:
        """Encode every distinct text that is not there yet; prints, once, what share of them had to be cut.

        Args:
            texts: Any number, with duplicates.
            device: Where to encode; the encoder is moved there and back.
            progress: Show a progress bar.

        Returns:
            How many texts were encoded.
        """
        self._check_encoder()
        self._refresh()
        new = [text for text in dict.fromkeys(texts) if _key(text) not in self._rows]
        if not new:
            return 0
        home, target = self.encoder.device, torch.device(device)
        self.encoder.to(target)
        try:
            with ProgressBar("Encoding texts", len(new), hidden=not progress) as bar:
                for start in range(0, len(new), PART_TEXTS):
                    part = new[start : start + PART_TEXTS]
                    self._commit(part, self._encode(part, target, bar))
        finally:
            self.encoder.to(home)
        self.encoder.warn_of_cut_texts()
        self._versions = self._count_changes()
        self._refresh()
        return len(new)

    def lookup(self, texts: Sequence[str]) -> TextFeatures:
        """Return the features of texts that `fill` has seen, in fp32 on the CPU, `texts text_features`.

        Raises:
            RuntimeError: A text was never filled in, or the encoder has changed since.
        """
        self._check_encoder()
        keys = [_key(text) for text in texts]
        if any(key not in self._rows for key in keys):
            self._refresh()
        missing = [text for key, text in zip(keys, texts, strict=True) if key not in self._rows]
        if missing:
            raise RuntimeError(f"{len(missing)} texts are not in the cache {self.path}, e.g. {missing[0][:60]!r}: fill it first")
        places = np.array([self._rows[key] for key in keys], dtype=np.int64).reshape(-1, 2)
        features = np.empty((len(keys), self.encoder.dimension), dtype=np.float32)
        for part in np.unique(places[:, 0]):
            chosen = places[:, 0] == part
            features[chosen] = self._parts[part][places[chosen, 1]]
        return torch.from_numpy(features)

    def _encode(self, texts: list[str], device: torch.device, bar: ProgressBar) -> np.ndarray:
        ids = self.encoder.token_ids(texts)
        features = np.empty((len(texts), self.encoder.dimension), dtype=self.dtype)
        with torch.inference_mode(), _fast_precision(self.encoder, device):
            for rows in _batches([len(row) for row in ids]):
                output = self.encoder(self.encoder.pad([ids[row] for row in rows]).to(device))
                features[rows] = output.float().cpu().numpy()
                bar.advance(len(rows))
        if not np.isfinite(features).all():
            raise RuntimeError(f"the text encoder gives features that {self.dtype} cannot hold; use dtype float32")
        return features

    def _commit(self, texts: list[str], features: np.ndarray) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "cache.json").is_file():
            write_json(self.path / "cache.json", {"fingerprint": self.fingerprint, "dimension": self.encoder.dimension})
        with atomic_folder(self.path / f"part-{uuid.uuid4().hex}") as part:
            np.save(part / "features.npy", features)
            np.save(part / "keys.npy", np.frombuffer(b"".join(map(_key, texts)), np.uint8).reshape(-1, KEY_BYTES))

    def _refresh(self) -> None:
        """Take in the parts that appeared since, from this process or another."""
        for folder in sorted(self.path.glob("part-*")):
            if folder.name in self._read:
                continue
            try:
                features = np.load(folder / "features.npy", mmap_mode="r")
                keys = np.load(folder / "keys.npy")
            except (OSError, ValueError, EOFError) as error:
                raise UserError(f"the text cache part {folder} is broken ({error})", "Delete that folder.") from error
            if features.shape != (len(keys), self.encoder.dimension):
                raise UserError(f"the text cache part {folder} is broken (shape {features.shape})", "Delete that folder.")
            self._read.add(folder.name)
            self._parts.append(features)
            number = len(self._parts) - 1
            for row, key in enumerate(keys):
                self._rows.setdefault(key.tobytes(), (number, row))

    def _count_changes(self) -> int:
        """Sum of torch's in-place change counters: cheap, and different after an optimiser step or a loaded state."""
        return sum(value._version for value in self.encoder.state_dict(keep_vars=True).values())

    def _check_encoder(self) -> None:
        versions = self._count_changes()
        if versions != self._versions:
            if self.encoder.fingerprint() != self.fingerprint:
                raise RuntimeError("the text encoder has changed since this cache was opened; open a new one")
            self._versions = versions


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def _batches(lengths: list[int]) -> list[list[int]]:
    """Group rows of similar length, longest first, into batches of at most `BATCH_TOKENS` with padding."""
    batches: list[list[int]] = []
    size = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not batches or len(batches[-1]) >= size:
            batches.append([])
            size = max(BATCH_TOKENS // max(lengths[row], 1), 1)
        batches[-1].append(row)
    return batches


def _fast_precision(encoder: TextEncoder, device: torch.device) -> AbstractContextManager[object]:
    """Return bf16 autocast where it is fast, else nothing.

    An encoder with standardised features stays in fp32: standardising would enlarge the rounding.
    """
    if encoder.statistics is not None or not multiplies_fast_in_bf16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
