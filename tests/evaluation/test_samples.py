from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.samples import choose_samples, collect_samples, png_base64

CONFIG = EvaluateConfig(store=Path("x"))


def test_a_perfect_encoder_names_what_is_there_and_fetches_its_own_report(store: Any, make_encoder: Callable[..., Any]) -> None:
    samples = collect_samples(make_encoder(store, noise=0.0), store, CONFIG)
    assert len(samples) == 8
    for sample in samples:
        row = int(sample.row_id[1:])
        assert sample.text == store.text(row)
        assert sample.fetched[0].right
        assert sample.fetched[0].text == sample.text
        for said in sample.said:
            assert said.truth == store._labels[row, store.findings.index(said.finding)]
        if sample.present and len(sample.present) < 3:
            assert sample.said[0].finding in sample.present
        shares = [said.percentile for said in sample.said]
        assert shares == sorted(shares, reverse=True)


def test_samples_do_not_depend_on_the_model(store: Any, make_encoder: Callable[..., Any]) -> None:
    models = make_encoder(store), make_encoder(store, seed=8, name="b"), make_encoder(store, findings=["Edema"], name="c")
    chosen = [[sample.row_id for sample in collect_samples(model, store, CONFIG)] for model in models]
    assert chosen[0] == chosen[1] == chosen[2]
    supervised = collect_samples(models[2], store, CONFIG)[0]
    assert [said.finding for said in supervised.said] == ["Edema"]
    assert supervised.fetched == []


def test_three_in_four_have_a_finding_where_possible(make_store: Callable[..., Any]) -> None:
    store = make_store(100)
    store._labels[:] = 0
    store._labels[::5] = 1
    chosen = choose_samples(store, np.arange(100), 0)
    assert (chosen % 5 == 0).sum() == 6
    assert len(chosen) == 8
    assert len(choose_samples(store, np.arange(3), 0)) == 3


def test_sixteen_bit_images_become_visible() -> None:
    pixels = np.linspace(1000, 1400, 64 * 64).astype(np.uint16).reshape(64, 64)
    image = np.array(Image.open(io.BytesIO(base64.b64decode(png_base64(pixels)))))
    assert image.dtype == np.uint8
    assert image.min() == 0
    assert image.max() == 255
