from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lingula.core.errors import UserError
from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.evaluation import fine_tuning
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Trainable
from lingula.evaluation.fine_tuning import fine_tune, scores_of
from lingula.evaluation.tasks.fine_tune import run

FINDINGS = ["Atelectasis", "Edema", "Pneumonia"]


def config(**values: Any) -> EvaluateConfig:
    few = {"store": Path("x"), "bootstrap": 20, "fine_tune_steps": 60, "fine_tune_every": 10, "fine_tune_rate": 3e-3}
    return EvaluateConfig.from_values(few | values, "test")


class Tower(nn.Module):
    """A convolution that sees where a stripe lies, badly at first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 12), nn.ReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


@pytest.fixture
def striped(make_store: Callable[..., Any]) -> Any:
    """A store in which finding j is a bright stripe in row 2 j."""
    store = make_store()
    noise = np.random.default_rng(0).integers(0, 120, (240, 8, 8), dtype=np.uint8)
    for row in range(240):
        for place in range(3):
            noise[row, 2 * place] += np.uint8(100 * store._labels[row, place])
    store.pixels = lambda row: noise[row]
    return store


@pytest.fixture
def trained(make_encoder: Callable[..., Any], striped: Any) -> Any:
    """An encoder that gives its tower away."""
    encoder, tower = make_encoder(striped), Tower()
    plain = AugmentConfig(rotation=0, translation=0, scale=(1, 1), brightness=0, contrast=0, gamma=0)
    encoder.tower = tower
    encoder.trainable = lambda: Trainable(__import__("copy").deepcopy(tower), 12, ImageTransform(plain, 8))
    return encoder


def test_it_learns_what_can_be_seen_and_more_labels_help(striped: Any, trained: Any) -> None:
    before = [parameter.clone() for parameter in trained.tower.parameters()]
    result = run(trained, striped, config(fraction=[0.05, 1.0]))
    few, every = (result.find("AUROC", "macro", setting).value for setting in ("5 %", "100 %"))
    assert every > 0.95
    assert few < every
    assert result.find("F1", "Edema", "100 %").value > 0.7
    assert {row["unit"] for row in result.predictions.to_pylist() if row["setting"] == "5 %"} == {0, 1, 2}
    for old, now in zip(before, trained.tower.parameters(), strict=True):
        assert torch.equal(old, now), "the encoder that was given stays as it was"


def test_all_parameters_move_and_the_same_seed_gives_the_same_scores(striped: Any, trained: Any) -> None:
    def tuned(seed: int) -> tuple[np.ndarray, Trainable]:
        copied = trained.trainable()
        found = fine_tune(copied, striped, FINDINGS, config(), np.arange(120), np.arange(120, 180), seed)
        return scores_of(found.network, copied, striped, np.arange(180, 240)), copied

    (one, copied), (again, _), (other, _) = tuned(0), tuned(0), tuned(1)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    for name, old in trained.tower.named_parameters():
        assert not torch.equal(old, dict(copied.network.named_parameters())[name]), name


def test_the_best_validation_is_kept_and_waiting_has_an_end(striped: Any, trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    qualities = iter([0.5, 0.9, 0.7, 0.6, 0.8, 0.99])
    seen: list[torch.Tensor] = []

    def macro(scores: np.ndarray, truth: np.ndarray) -> float:
        seen.append(torch.from_numpy(scores.copy()))
        return next(qualities)

    monkeypatch.setattr(fine_tuning, "_macro", macro)
    copied, val = trained.trainable(), np.arange(120, 180)
    tuned = fine_tune(copied, striped, FINDINGS, config(patience=3), np.arange(120), val, 0)
    assert (tuned.step, tuned.quality, len(seen)) == (20, 0.9, 5)
    np.testing.assert_array_equal(scores_of(tuned.network, copied, striped, val), seen[1].numpy())


def test_labels_of_test_and_unknown_labels_have_no_influence(striped: Any, trained: Any) -> None:
    settings = config(fraction=[1.0], label=["Edema"], fine_tune_steps=12, fine_tune_every=1, patience=12)
    before = run(trained, striped, settings).predictions
    striped._labels[180:] = 1 - striped._labels[180:]
    after = run(trained, striped, settings).predictions
    assert before.column("score") == after.column("score")
    assert before.column("threshold") == after.column("threshold")
    striped._labels[:40] = np.nan
    known = run(trained, striped, settings)
    assert "on 80 images" in known.notes[-1] or any("on 80 images" in note for note in known.notes)


def test_bad_requests_are_told(striped: Any, trained: Any, encoder: Any) -> None:
    with pytest.raises(UserError, match="does not give its image tower away"):
        run(encoder, striped, config())
    with pytest.raises(UserError, match="fine-tuning on 1 image"):
        fine_tune(trained.trainable(), striped, FINDINGS, config(), np.arange(1), np.arange(120, 180), 0)
    with pytest.raises(UserError, match="Lower --fine-tune-rate"):
        run(trained, striped, config(fine_tune_rate=1e30, fraction=[1.0]))
