"""The recipe `tiny` in its one-minute form: on coarse phantom CT each of its four losses falls.

A minute is too short for a space in which texts find their volumes: of 48 test studies, ranks and areas stay at chance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ct_runs import make_ct_store

from lingula.core.config import merged
from lingula.training.pretrain import pretrain
from lingula.training.recipes import recipe
from lingula.training.run import Run

ONE_MINUTE: dict[str, Any] = {
    "method": {"encoder": {"depth": 3}, "report_decoder": {"max_tokens": 48}},
    "crop": {"size": 32},
    "text_encoder": {"small": {"width": 64, "word_steps": 40, "steps": 10, "sentence_pairs": 32}},
    "optimisation": {"steps": 90, "batch_size": 16},
    "runtime": {"log_every": 10, "validate_every": 45, "device": "cpu"},
}
LEAST_FALL = {"contrastive": 0.05, "opposite": 0.008, "report": 1.5, "masked": 0.15}
"""From the first ten steps to the last ten; about half of, or below, what was measured (0.14, 0.02, 2.1 and 0.31)."""


@pytest.mark.soak
def test_each_of_the_four_losses_falls_within_a_minute(tmp_path: Path) -> None:
    place = make_ct_store(tmp_path / "store", train=96, val=32, spacing=10.0)
    config = recipe("colipri", "tiny", merged(ONE_MINUTE, {"data": {"store": place}}))
    run = Run(pretrain(config, tmp_path / "run"))
    logged = [entry for entry in run.metrics() if "loss" in entry]
    for term, least in LEAST_FALL.items():
        first, last = (entry[f"loss/{term}"] for entry in (logged[0], logged[-1]))
        assert first - last > least, term
    validated = [entry for entry in run.metrics() if "validation/loss" in entry]
    assert validated[-1]["validation/loss/masked"] < validated[0]["validation/loss/masked"]
