from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.evaluation import row_cache
from lingula.evaluation.embeddings import embed


def test_cache_is_read_extended_and_never_stale(
    tmp_path: Path, make_store: Callable[..., Any], make_encoder: Callable[..., Any]
) -> None:
    store = make_store(40)
    encoder = make_encoder(store)
    first = embed(encoder, store, np.array([5, 3, 3]), tmp_path)
    np.testing.assert_array_equal(first.rows, [3, 5])
    assert store.reads == 2
    more = embed(encoder, store, np.arange(10), tmp_path)
    assert store.reads == 10
    direct = embed(encoder, store, np.arange(10))
    np.testing.assert_array_equal(more.features, direct.features)
    np.testing.assert_array_equal(more.latents, direct.latents)
    other = make_encoder(store, seed=9, name="other")
    assert (embed(other, store, np.arange(10), tmp_path).features != more.features).any()


def test_an_interrupted_run_goes_on(
    tmp_path: Path, make_store: Callable[..., Any], make_encoder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(40)
    encoder = make_encoder(store)
    monkeypatch.setattr(row_cache, "BLOCK", 4)
    monkeypatch.setattr(row_cache, "SAVE_EVERY", 2)
    whole = embed(encoder, store, np.arange(40))
    pixels, store.reads = store.pixels, 0

    def failing(row: int) -> np.ndarray:
        if row == 21:
            raise KeyboardInterrupt
        return pixels(row)

    monkeypatch.setattr(store, "pixels", failing)
    with pytest.raises(KeyboardInterrupt):
        embed(encoder, store, np.arange(40), tmp_path)
    monkeypatch.setattr(store, "pixels", pixels)
    store.reads = 0
    np.testing.assert_array_equal(embed(encoder, store, np.arange(40), tmp_path).features, whole.features)
    assert store.reads == 24


def test_a_model_without_text_has_no_latent_columns(
    tmp_path: Path, make_store: Callable[..., Any], make_encoder: Callable[..., Any]
) -> None:
    store = make_store(6)
    encoder = make_encoder(store, findings=["Edema"])
    for _ in range(2):
        found = embed(encoder, store, np.arange(6), tmp_path)
        assert found.latents.shape == (6, 0)
    assert store.reads == 6
    assert embed(encoder, store, np.arange(6)).latents.shape == (6, 0)


def test_at_keeps_the_order_asked_for(make_store: Callable[..., Any], make_encoder: Callable[..., Any]) -> None:
    store = make_store(10)
    found = embed(make_encoder(store), store, np.arange(10))
    np.testing.assert_array_equal(found.at(np.array([7, 2])).features, found.features[[7, 2]])
    with pytest.raises(KeyError):
        found.at(np.array([2, 10]))
