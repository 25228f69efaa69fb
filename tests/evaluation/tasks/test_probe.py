from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import embed
from lingula.evaluation.tasks.common import Partition
from lingula.evaluation.tasks.fractions import draw_patients
from lingula.evaluation.tasks.probe import fit_partition, run


def config(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": Path("x"), "bootstrap": 30, **values}, "test")


def test_more_labels_help_and_draws_are_kept(store: Any, encoder: Any) -> None:
    result = run(encoder, store, config(fraction=[0.05, 0.3, 1.0]))
    few, some, all_labels = (result.find("AUROC", "macro", setting).value for setting in ("5 %", "30 %", "100 %"))
    assert few < some < all_labels
    assert all_labels > 0.85
    table = result.predictions.to_pylist()
    assert {row["unit"] for row in table if row["setting"] == "5 %"} == {0, 1, 2}
    assert {row["unit"] for row in table if row["setting"] == "100 %"} == {0}


def test_test_labels_do_not_leak(make_store: Callable[..., Any], make_encoder: Callable[..., Any]) -> None:
    store = make_store()
    encoder = make_encoder(store)
    before = run(encoder, store, config(fraction=[1.0], label=["Edema"])).predictions
    store._labels[180:] = 1 - store._labels[180:]
    after = run(encoder, store, config(fraction=[1.0], label=["Edema"])).predictions
    for name in ("score", "threshold"):
        assert before.column(name) == after.column(name)


def test_the_score_of_an_image_does_not_depend_on_the_other_test_images(store: Any, encoder: Any) -> None:
    images, settings = embed(encoder, store, np.arange(240)), config()
    whole = Partition(np.arange(120), np.arange(120, 180), np.arange(180, 240))
    alone = Partition(whole.train, whole.val, whole.test[:3])
    expected = fit_partition(store, images, ["Edema"], settings, whole)[0][:3]
    np.testing.assert_allclose(fit_partition(store, images, ["Edema"], settings, alone)[0], expected, rtol=1e-5, atol=1e-6)


def test_features_of_any_scale_and_constant_ones_are_standardised(
    make_store: Callable[..., Any], make_encoder: Callable[..., Any]
) -> None:
    store = make_store()
    encoder = make_encoder(store)
    plain = run(encoder, store, config(fraction=[1.0])).find("AUROC", "macro", "100 %").value
    encoder._latents = np.concatenate([encoder._latents * 1e4 + 3e4, np.full((240, 1), 7.0)], axis=1)
    encoder.fingerprint = "scaled"
    scaled = run(encoder, store, config(fraction=[1.0])).find("AUROC", "macro", "100 %").value
    assert scaled == pytest.approx(plain, abs=0.01)


def test_draws_take_whole_patients_and_depend_on_the_seed_only(store: Any) -> None:
    rows = np.arange(120)
    drawn = draw_patients(store, rows, 0.1, 3)
    assert len(drawn) == 12
    assert (drawn[::2] + 1 == drawn[1::2]).all()
    np.testing.assert_array_equal(drawn, draw_patients(store, rows, 0.1, 3))
    assert set(drawn) != set(draw_patients(store, rows, 0.1, 4))
    assert len(draw_patients(store, rows, 0.001, 0)) == 2


def test_one_class_in_a_draw_is_a_constant_and_is_told(make_store: Callable[..., Any], make_encoder: Callable[..., Any]) -> None:
    store = make_store()
    store._labels[2:120, 1] = 0
    store._labels[:2, 1] = 1
    result = run(make_encoder(store), store, config(fraction=[0.02], label=["Edema"]))
    assert result.find("AUROC", "Edema", "2 %").value == 0.5
    assert any("one class only" in note for note in result.notes)


def test_folds_by_patient_score_everything_once(store: Any, encoder: Any) -> None:
    result = run(encoder, store, config(folds=4, fraction=[1.0], label=["Edema"]))
    table = result.predictions.to_pylist()
    assert len(table) == len({row["row_id"] for row in table}) == len(store)
    folds = {row["patient_id"]: row["unit"] for row in table}
    assert all(folds[row["patient_id"]] == row["unit"] for row in table)
    assert result.find("AUROC", "Edema", "100 %").value > 0.8


def test_against_and_where_choose_the_rows(store: Any, encoder: Any) -> None:
    chosen = config(fraction=[1.0], label=["Edema"], against="Pneumonia", where=["source=NIH"], folds=3)
    table = run(encoder, store, chosen).predictions.to_pylist()
    assert all(int(row["row_id"][1:]) % 3 for row in table)
    assert all((row["target"] == 1) == (store._labels[int(row["row_id"][1:]), 1] == 1) for row in table)
    assert all(store._labels[int(row["row_id"][1:]), 2] == 1 for row in table if row["target"] == 0)


def test_no_labelled_training_row_is_an_error(make_store: Callable[..., Any], make_encoder: Callable[..., Any]) -> None:
    store = make_store()
    store._labels[:120] = np.nan
    with pytest.raises(UserError, match="no labelled image to train"):
        run(make_encoder(store), store, config())
