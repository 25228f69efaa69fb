from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.geometry import effective_rank, fisher_ratio, singular_spectrum
from lingula.evaluation.tasks.geometry import FEATURES, IMAGES, PAIRS, TEXTS, run


def config(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": Path("x"), **values}, "test")


def test_numbers_are_those_of_the_test_rows_embeddings(store: Any, encoder: Any) -> None:
    result = run(encoder, store, config(gallery=0))
    rows = store.rows("test")
    features, latents = encoder.embed_pixels([store.pixels(int(row)) for row in rows])
    for name, cloud in ((FEATURES, features), (IMAGES, latents)):
        row = result.find("effective rank", setting=name)
        assert row.value == pytest.approx(effective_rank(singular_spectrum(cloud)))
        assert row.low < row.value < row.high
        assert row.n == len(rows) == 60
    texts = encoder.encode_text([store.text(int(row)) for row in rows])
    assert result.find("alignment", setting=PAIRS).value == pytest.approx(float((2 - 2 * (latents * texts).sum(1)).mean()))
    assert result.find("uniformity", setting=TEXTS).value < 0
    edema = store.labels(rows, ["Edema"])[:, 0] == 1
    assert result.find("Fisher ratio", "Edema", FEATURES).value == pytest.approx(fisher_ratio(features, edema))
    spectrum = [row["deviation"] for row in result.predictions.to_pylist() if row["setting"] == FEATURES]
    np.testing.assert_allclose(spectrum, singular_spectrum(features))


def test_a_collapse_shows_as_rank_one(store: Any, make_encoder: Callable[..., Any]) -> None:
    encoder = make_encoder(store, name="collapsed")
    encoder._latents = np.outer(np.linspace(1, 2, 240), np.ones(24)) + np.arange(24)
    result = run(encoder, store, config())
    assert result.find("effective rank", setting=FEATURES).value == pytest.approx(1, abs=1e-3)
    assert result.find("mean correlation", setting=FEATURES).value == pytest.approx(1, abs=1e-3)
    assert any("lower bound" not in note for note in result.notes) or not result.notes


def test_a_model_without_text_has_features_only(store: Any, make_encoder: Callable[..., Any]) -> None:
    result = run(make_encoder(store, findings=["Edema"]), store, config())
    assert {row.setting for row in result.rows} == {FEATURES}


def test_too_few_images_are_refused(store: Any, encoder: Any) -> None:
    with pytest.raises(UserError, match="2 images have no geometry"):
        run(encoder, store, config(gallery=2))
