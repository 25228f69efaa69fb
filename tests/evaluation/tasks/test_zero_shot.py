from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.metrics import auroc
from lingula.evaluation.tasks.zero_shot import RIDGE, choose_scoring, prompt_scores, run


def config(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": Path("x"), "bootstrap": 50, **values}, "test")


def test_score_is_the_difference_of_cosines() -> None:
    image, positive, negative = np.array([[0.6, 0.8]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    np.testing.assert_allclose(prompt_scores(image, positive, negative), [[-0.2]])


def test_scoring_is_chosen_by_validation_auroc() -> None:
    axes, rng = np.eye(3), np.random.default_rng(0)
    known = (rng.random((200, 1)) < 0.5).astype(float)
    latents = np.concatenate([known, 3 * rng.standard_normal((200, 1)), known], axis=1)
    deaf = choose_scoring(latents, positive=axes[:1], negative=axes[2:], known=known)
    assert deaf[0] == "positive"
    assert deaf[1] == {"difference": 0.5, "positive": 1.0, "unmixed": 1.0}
    shared = choose_scoring(latents, positive=axes[:1] + axes[1:2], negative=axes[1:2], known=known)
    assert shared[0] == "difference"
    assert shared[1]["difference"] == 1.0


def test_unmixing_solves_the_ridge_problem() -> None:
    rng = np.random.default_rng(1)
    prompts, latents = rng.standard_normal((4, 9)), rng.standard_normal((5, 9))
    centred = prompts - prompts.mean(axis=0)
    weight = RIDGE * (centred**2).sum() / 4
    stacked = np.concatenate([centred.T, np.sqrt(weight) * np.eye(4)])
    solved = [np.linalg.lstsq(stacked, np.concatenate([latent, np.zeros(4)]), rcond=None)[0] for latent in latents]
    np.testing.assert_allclose(prompt_scores(latents, prompts, -prompts, "unmixed"), solved, atol=1e-10)


def test_unmixing_takes_away_what_prompts_share() -> None:
    rng = np.random.default_rng(2)
    frequent, rare, other, common = np.eye(4)
    prompts = np.stack([frequent + common, rare + 0.9 * frequent + common, other + common])
    known = (rng.random((400, 3)) < (0.5, 0.2, 0.3)).astype(float)
    latents = known @ np.stack([3 * frequent, rare, other]) + 0.1 * rng.standard_normal((400, 4))
    best, measured = choose_scoring(latents, prompts, -prompts, known)
    assert best == "unmixed"
    assert measured["unmixed"] > measured["positive"] + 0.02


def test_scoring_can_be_fixed(store: Any, encoder: Any) -> None:
    difference, positive = (run(encoder, store, config(scoring=s)) for s in ("difference", "positive"))
    first, second = (result.predictions.to_pylist()[0] for result in (difference, positive))
    assert first["score"] != second["score"]
    assert 0 < first["probability"] < 1
    assert np.isnan(second["probability"])
    assert [r.protocol["scoring"][0]["scoring"] for r in (difference, positive)] == ["difference", "positive"]


def test_a_good_encoder_scores_high_and_a_blind_one_at_chance(store: Any, make_encoder: Callable[..., Any]) -> None:
    good = run(make_encoder(store, noise=0.3), store, config()).find("AUROC", "macro")
    blind = run(make_encoder(store, noise=1000.0), store, config()).find("AUROC", "macro")
    assert good.value > 0.95
    assert good.low > 0.9
    assert blind.low < 0.5 < blind.high
    assert good.chance == 0.5
    assert good.n == 60


def test_numbers_come_from_the_test_split_and_thresholds_from_validation(store: Any, encoder: Any) -> None:
    result = run(encoder, store, config())
    table = result.predictions.to_pylist()
    assert {row["row_id"] for row in table} == {f"r{i:04d}" for i in range(180, 240)}
    edema = [row for row in table if row["finding"] == "Edema"]
    by_hand = auroc(np.array([r["score"] for r in edema]), np.array([r["target"] for r in edema]))
    assert result.find("AUROC", "Edema").value == pytest.approx(by_hand)
    assert edema[0]["probability"] == pytest.approx(1 / (1 + np.exp(-edema[0]["score"] / 0.1)), rel=1e-5)
    on_val = run(encoder, store, config(split="val"))
    assert on_val.predictions.to_pylist()[0]["threshold"] == table[0]["threshold"]
    assert any("Thresholds were chosen" in note for note in on_val.notes)


def test_subgroups_have_their_own_rows(store: Any, encoder: Any) -> None:
    rows = run(encoder, store, config()).rows
    assert {row.subgroup for row in rows} >= {"all", "sex: F", "sex: M", "age: 18-39"}
    assert next(row for row in rows if row.subgroup == "sex: F" and row.label == "Edema").n == 30


def test_folds_score_every_row_once_with_thresholds_from_the_others(store: Any, encoder: Any) -> None:
    result = run(encoder, store, config(folds=4, label=["Edema"]))
    table = result.predictions.to_pylist()
    assert len(table) == len({row["row_id"] for row in table}) == len(store)
    assert len({row["threshold"] for row in table}) > 1
    assert result.split == "4 folds"
    assert any("pre-training may have seen" in note for note in result.notes)


def test_a_model_without_text_is_refused(store: Any, make_encoder: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="no text tower"):
        run(make_encoder(store, findings=["Edema"]), store, config())


def test_findings_with_few_positives_are_named(make_store: Callable[..., Any], make_encoder: Callable[..., Any]) -> None:
    store = make_store()
    store._labels[180:, 2] = 0
    store._labels[180:183, 2] = 1
    assert "Fewer than 10 positive images, so hardly a number: Pneumonia." in run(make_encoder(store), store, config()).notes
