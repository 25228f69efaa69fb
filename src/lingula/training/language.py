"""The text side of a run: the encoder, trained or found, and the cached features of every text that training can ask for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lingula.core.files import atomic_folder, sha256_of
from lingula.core.types import RowNumbers
from lingula.data.store_table import StoreTable
from lingula.data.text.views import TextView, text_views
from lingula.methods.language_model import train_language_model
from lingula.models.text_encoder import TextEncoder, load_text_encoder
from lingula.training.config import PretrainConfig
from lingula.training.report_pairs import report_pairs

if TYPE_CHECKING:
    from lingula.models.text_cache import TextCache


def find_text_encoder(config: PretrainConfig, store: StoreTable, rows: RowNumbers) -> TextEncoder:
    """Return the configured text encoder, its weights always trained ones.

    `small` is trained on the training rows' reports and their sentences; it is kept in the store's folder under a
    fingerprint of texts, settings and seed, so that the next run with the same ones finds it.

    Raises:
        UserError: The weights of any other encoder are not there.
    """
    if config.text_encoder.name != "small":
        return load_text_encoder(config.text_encoder)
    texts = small_model_texts(config, store, rows)
    folder = small_model_folder(config, store, texts)
    if folder.is_dir():
        return _load(config, folder)
    small, seed, affirmed = config.text_encoder.small, config.runtime.seed, config.data.text_view == "affirmed"
    reports = _reports(store, rows, config.data.sections)
    pairs = report_pairs(reports, seed, affirmed) if small.needs_pairs else []
    encoder = train_language_model(texts, small, seed, pairs=pairs)
    if os.access(store.path, os.W_OK):
        with atomic_folder(folder) as made:
            encoder.save(made)
        return _load(config, folder)
    with tempfile.TemporaryDirectory() as temporary:
        encoder.save(Path(temporary) / "model")
        return _load(config, Path(temporary) / "model")


def _load(config: PretrainConfig, folder: Path) -> TextEncoder:
    """Load a small model from its folder, frozen or to be trained on, as configured."""
    return load_text_encoder(config.text_encoder.model_copy(update={"name": str(folder)}))


def _reports(store: StoreTable, rows: RowNumbers, sections: Sequence[str] | None) -> list[dict[str, str]]:
    """Return the reports of some rows, once per study, in the chosen sections."""
    known, studies = store.column("sections"), store.column("study_id")
    found = {studies[row]: known[row] for row in rows.tolist() if store.text(int(row), sections)}
    return [{name: text for name, text in report.items() if sections is None or name in sections} for report in found.values()]


def small_model_texts(config: PretrainConfig, store: StoreTable, rows: RowNumbers) -> list[str]:
    """List what the small model of these rows is trained on: reports and their sentences."""
    return distinct_texts(store, rows, config.data.sections, "mixed")


def small_model_folder(config: PretrainConfig, store: StoreTable, texts: Sequence[str]) -> Path:
    """Return where the small model of these texts and settings is kept, trained or not."""
    affirmed = str(config.data.text_view == "affirmed")
    key = sha256_of(config.text_encoder.small.model_dump_json(), str(config.runtime.seed), affirmed, *texts)
    return store.path / "language_models" / key[:16]


def distinct_texts(store: StoreTable, rows: RowNumbers, sections: Sequence[str] | None, view: TextView) -> list[str]:
    """List every text that training on some rows can ask for, once, in order of appearance."""
    return list(dict.fromkeys(text for row in rows for text in text_views(store.text(int(row), sections), view)))


def cache_texts(encoder: TextEncoder, store: StoreTable, run: Path, texts: list[str], device: torch.device) -> TextCache:
    """Encode texts once; the cache lies beside the store, or in the run where the store cannot be written."""
    from lingula.models.text_cache import TextCache

    parent = store.path if os.access(store.path, os.W_OK) else run
    cache = TextCache(parent / "text_cache", encoder)
    cache.fill(texts, device, progress=True)
    return cache
