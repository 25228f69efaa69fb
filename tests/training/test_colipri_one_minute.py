"""The recipe `tiny` in its one-minute form: on coarse phantom CT it learns all four objectives, as unseen patients show.

A minute is too short for zero-shot classification.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ct_runs import make_ct_store

from lingula.core.config import merged
from lingula.training.pretrain import pretrain
from lingula.training.recipes import recipe
from lingula.training.run import Run

BATCH = 64
ONE_MINUTE: dict[str, Any] = {
    "method": {"encoder": {"patch_size": 8}, "report_decoder": {"max_tokens": 32}, "opposite_slots": 2},
    "crop": {"size": 24},
    "text_encoder": {"small": {"word_steps": 100, "sentence_pairs": 128}},
    "optimisation": {"steps": 100, "batch_size": BATCH},
    "runtime": {"log_every": 10, "validate_every": 50, "device": "cpu"},
}
GUESS = {"contrastive": math.log(BATCH), "opposite": math.log(2)}
"""What a guess costs."""
BETTER = {"contrastive": 0.02, "opposite": 0.02}
"""How much better than a guess unseen patients come out, at least; 0.05 to 0.15 and 0.05 to 0.10 were measured."""
LEAST_FALL = {"contrastive": 0.1, "opposite": 0.04, "report": 1.0, "masked": 0.15}
"""From the first ten steps to the last ten; at least 0.3, 0.08, 2.0 and 0.32 were measured."""


def test_four_objectives_are_learned_within_a_minute(tmp_path: Path) -> None:
    place = make_ct_store(tmp_path / "store", train=2000, val=BATCH, spacing=12.0)
    run = Run(pretrain(recipe("colipri", "tiny", merged(ONE_MINUTE, {"data": {"store": place}})), tmp_path / "run"))
    logged = [entry for entry in run.metrics() if "loss" in entry]
    fallen = {term: logged[0][f"loss/{term}"] - logged[-1][f"loss/{term}"] for term in LEAST_FALL}
    assert all(fallen[term] > least for term, least in LEAST_FALL.items()), fallen
    validated = [entry for entry in run.metrics() if "validation/loss" in entry]
    best = {term: min(entry[f"validation/loss/{term}"] for entry in validated) for term in LEAST_FALL}
    assert all(best[term] < GUESS[term] - least for term, least in BETTER.items()), best
    assert best["masked"] < logged[0]["loss/masked"] / 2
