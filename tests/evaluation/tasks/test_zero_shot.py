from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import GridEncoder, build_blobs

from lingula.core.errors import UserError
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.dense_scores import aggregate
from lingula.evaluation.metrics import auroc
from lingula.evaluation.prompts import default_prompts, ensemble
from lingula.evaluation.tasks.zero_shot import RIDGE, SCORINGS, Scoring, choose_scoring, prompt_scores, run


def config(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": Path("x"), "bootstrap": 50, **values}, "test")


def choose(
    latents: np.ndarray, positive: np.ndarray, negative: np.ndarray, known: np.ndarray
) -> tuple[Scoring, dict[str, float]]:
    return choose_scoring({name: prompt_scores(latents, positive, negative, name) for name in SCORINGS}, known)


def test_score_is_the_difference_of_cosines() -> None:
    image, positive, negative = np.array([[0.6, 0.8]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    np.testing.assert_allclose(prompt_scores(image, positive, negative), [[-0.2]])


def test_scoring_is_chosen_by_validation_auroc() -> None:
    axes, rng = np.eye(3), np.random.default_rng(0)
    known = (rng.random((200, 1)) < 0.5).astype(float)
    latents = np.concatenate([known, 3 * rng.standard_normal((200, 1)), known], axis=1)
    deaf = choose(latents, positive=axes[:1], negative=axes[2:], known=known)
    assert deaf[0] == "positive"
    assert deaf[1] == {"difference": 0.5, "positive": 1.0, "unmixed": 1.0}
    shared = choose(latents, positive=axes[:1] + axes[1:2], negative=axes[1:2], known=known)
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
    best, measured = choose(latents, prompts, -prompts, known)
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


def test_dense_scores_are_further_settings_and_leave_the_pooled_ones_alone() -> None:
    store = build_blobs(96)
    alone = run(GridEncoder(), store, config())
    kinds = ["pooled", "dense-max", "dense-mean", "dense-attention"]
    result = run(GridEncoder(), store, config(zero_shot_scores=kinds))
    assert result.settings == ["", *kinds[1:]]
    pooled = [row for row in result.predictions.to_pylist() if row["setting"] == ""]
    np.testing.assert_equal(pooled, alone.predictions.to_pylist())
    assert [row for row in result.rows if row.setting == ""] == alone.rows
    assert list(result.protocol["scoring"]) == kinds
    assert result.protocol["scoring"]["pooled"] == alone.protocol["scoring"]
    only = run(GridEncoder(), store, config(zero_shot_scores=["dense-max"]))
    assert only.settings == ["dense-max"]
    assert only.rows == [row for row in result.rows if row.setting == "dense-max"]


def test_dense_scores_equal_a_slow_loop_over_cells() -> None:
    store, encoder = build_blobs(96), GridEncoder()
    values = config(zero_shot_scores=["dense-max", "dense-mean", "dense-attention"], scoring="difference")
    table = {
        (row["setting"], row["row_id"], row["finding"]): row["score"]
        for row in run(encoder, store, values).predictions.to_pylist()
    }
    prompts = default_prompts("Alpha")
    positive, negative = (ensemble(list(encoder.encode_text(side))) for side in (prompts.positive, prompts.negative))
    for row in store.rows("test")[:4]:
        dense = encoder.dense_pixels([store.pixels(int(row))])[0]
        attention = encoder.attention_pixels([store.pixels(int(row))])
        assert attention is not None
        cells = [(r, c) for r in range(8) for c in range(8)]
        scores = np.array([dense[:, r, c] @ positive - dense[:, r, c] @ negative for r, c in cells])
        weights = np.array([attention[0, :, r, c].mean() for r, c in cells])
        name = store.column("row_id")[row]
        assert table["dense-max", name, "Alpha"] == pytest.approx(scores.max(), abs=1e-6)
        assert table["dense-mean", name, "Alpha"] == pytest.approx(scores.mean(), abs=1e-6)
        assert table["dense-attention", name, "Alpha"] == pytest.approx((weights * scores).sum() / weights.sum(), abs=1e-6)


def test_a_finding_of_one_cell_is_seen_by_the_maximum() -> None:
    """The pooled image of an encoder whose cells differ by much else misses what one cell says."""
    store = build_blobs(96)
    rng = np.random.default_rng(0)
    for row in range(len(store)):
        image = np.where(store.pixels(row) > 60, store.pixels(row), rng.integers(0, 60, (16, 16))).astype(np.uint8)
        store._rows[row]["pixels"] = image
    result = run(GridEncoder(), store, config(zero_shot_scores=["dense-max"]))
    found = result.find("AUROC", "macro", "dense-max")
    assert found is not None
    assert found.value == 1


class Contrary(GridEncoder):
    """Takes what a report says for its opposite."""

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        signs = [-1.0 if "\n\n" in text else 1.0 for text in texts]
        return super().encode_text(texts) * np.array(signs)[:, None]


def test_report_style_prompts_are_settings_of_their_own() -> None:
    store, encoder = build_blobs(96), Contrary()
    values: dict[str, Any] = {"zero_shot_scores": ["pooled", "dense-mean"], "scoring": "positive"}
    both = run(encoder, store, config(prompt_style=["short", "report"], **values))
    assert both.settings == ["", "report-style prompts", "dense-mean", "dense-mean, report-style prompts"]
    alone = Contrary()
    short = run(alone, store, config(**values))
    assert [row for row in both.rows if "report" not in row.setting] == short.rows
    assert encoder.images_seen == alone.images_seen, "images are encoded once for both"
    scores = {(row["setting"], row["row_id"], row["finding"]): row["score"] for row in both.predictions.to_pylist()}
    for (setting, row, finding), score in scores.items():
        if "report" not in setting:
            reported = ", ".join(part for part in (setting, "report-style prompts") if part)
            assert scores[reported, row, finding] == pytest.approx(-score, abs=1e-6), setting
    assert "There is alpha.\n\nThere is alpha." in encoder.texts_seen
    assert "No alpha.\n\nNo alpha." in encoder.texts_seen
    only = run(encoder, store, config(prompt_style=["report"], scoring="positive"))
    assert only.settings == ["report-style prompts"]
    assert list(only.protocol["prompt styles"]) == ["report"]
    with pytest.raises(UserError, match="names each style once"):
        config(prompt_style=["short", "short"])


def test_dense_scores_need_a_grid_and_attention() -> None:
    store = build_blobs(96)
    with pytest.raises(UserError, match="no attention to weigh"):
        run(GridEncoder(attends=False), store, config(zero_shot_scores=["dense-attention"]))
    with pytest.raises(UserError, match="zero-shot dense-max needs"):
        run(GridEncoder(findings=["Alpha"]), store, config(zero_shot_scores=["dense-max"]))
    with pytest.raises(UserError, match="names each way once"):
        config(zero_shot_scores=["pooled", "pooled"])


def test_an_image_that_nothing_is_attended_to_in_counts_the_mean_of_its_cells() -> None:
    cells = np.random.default_rng(0).normal(size=(2, 3, 4))
    attention = np.stack([np.zeros((1, 2, 2)), np.array([[[0, 0], [0, 5.0]]])])
    found = aggregate(cells, "dense-attention", attention)
    np.testing.assert_allclose(found[0], cells[0].mean(axis=1))
    np.testing.assert_allclose(found[1], cells[1, :, 3])
    with pytest.raises(ValueError, match="attention is needed"):
        aggregate(cells, "dense-attention")
