from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lingula.core.errors import UserError
from lingula.training import finite
from lingula.training.finite import STOPPED
from lingula.training.logbook import read_metrics
from lingula.training.loop import Trainer

OFTEN = {"checkpoint_every": 2, "log_every": 1}


def finite_weights(trainer: Trainer) -> bool:
    files = [trainer.checkpoints.path(step) for step in trainer.checkpoints.steps()]
    assert files
    fresh = trainer.spread
    for file in files:
        fresh.load_weights(file / "weights.safetensors")
    return all(bool(value.isfinite().all()) for value in trainer.method.state_dict().values())


def test_a_bad_image_stops_the_training_and_is_named(
    make_trainer: Callable[..., Trainer], make_loader: Callable[..., Any], tmp_path: Path
) -> None:
    loader = make_loader(batch_size=20)
    build = loader.build

    def with_nan(rows: Any, epoch: int) -> Any:
        batch = build(rows, epoch)
        if "study_id-17" in batch.study_ids and epoch == 2:
            batch.images[batch.study_ids.index("study_id-17"), 0, 3, 3] = float("nan")
        return batch

    with_nan.store, with_nan.text = build.store, build.text
    loader.build = with_nan
    trainer = make_trainer(tmp_path / "run", loader=loader, runtime=OFTEN)
    with pytest.raises(UserError) as caught:
        trainer.run()
    assert "is nan; images or text features that are not finite come from: study_id-17. Prepare" in str(caught.value)
    assert f"Begin a new run with --init-from {trainer.checkpoints.path(4)} (that checkpoint is intact)." in str(caught.value)
    stopped = json.loads((tmp_path / "run" / STOPPED).read_text())
    assert stopped["step"] in (5, 6)
    assert stopped["bad_inputs"] == ["study_id-17"]
    assert sorted(stopped["study_ids"]) == sorted(loader.batch(stopped["step"] - 1).study_ids)
    assert len(stopped["study_ids"]) == 20
    assert finite_weights(trainer)


def test_weights_that_overflow_in_the_step_itself_leave_no_checkpoint(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    """Loss and gradient are finite, the update is not: a learning rate beyond all numbers."""
    optimisation = {"learning_rate": 3e38, "weight_decay": 1e30, "warmup": 0}
    trainer = make_trainer(tmp_path / "run", steps=1, optimisation=optimisation, runtime=OFTEN)
    with pytest.raises(UserError, match=r"after step 1, .* is not finite; no checkpoint of it is written"):
        trainer.run()
    assert trainer.checkpoints.steps() == [0]
    assert finite_weights(trainer)


def overflow_in(trainer: Trainer, steps: set[int]) -> None:
    """Make the gradient of the temperature infinite in some steps; the scale is small enough for all others."""
    state = trainer.scaler.state_dict()
    trainer.scaler.load_state_dict(state | {"scale": state["scale"] | {"scale": 64.0}})

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * float("inf") if trainer.done in steps else gradient

    trainer.method.log_temperature.register_hook(hook)


def test_steps_that_fp16_skips_are_counted_and_change_nothing(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", steps=6, runtime=OFTEN | {"precision": "fp16", "checkpoint_every": 3})
    overflow_in(trainer, {1, 2, 4})
    seen = []
    step = trainer._step

    def remember(item: Any) -> Any:
        before = trainer.method.log_temperature.item()
        result = step(item)
        seen.append(trainer.method.log_temperature.item() != before)
        return result

    trainer._step = remember
    trainer.run()
    entries = [entry for entry in read_metrics(tmp_path / "run") if "loss" in entry]
    assert seen == [True, False, False, True, False, True]
    assert [entry["skipped_steps"] for entry in entries] == [0, 1, 2, 2, 3, 3]
    assert entries[-1]["loss_scale"] == 8
    assert ["gradient_norm" in entry for entry in entries] == seen
    again = make_trainer(tmp_path / "run", steps=6, runtime={"precision": "fp16"})
    again.restore(3)
    assert again.scaler.logged() == {"skipped_steps": 2, "loss_scale": entries[2]["loss_scale"]}


def test_fp16_that_only_skips_stops(
    make_trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lingula.training.loop.MOST_SKIPPED", 4)
    trainer = make_trainer(tmp_path / "run", runtime=OFTEN | {"precision": "fp16"})
    overflow_in(trainer, set(range(2, 12)))
    with pytest.raises(UserError, match=r"the gradients of 5 steps up to step 7 are not finite; its studies: study_id-"):
        trainer.run()
    assert finite.MOST_SKIPPED == 20
    assert finite_weights(trainer)


@pytest.mark.parametrize("file", ["weights.safetensors", "training_state.pt", "checkpoint.json"])
def test_a_broken_checkpoint_names_the_one_before_it(make_trainer: Callable[..., Trainer], tmp_path: Path, file: str) -> None:
    make_trainer(tmp_path / "run", steps=4, runtime=OFTEN).run()
    path = tmp_path / "run" / "checkpoints" / "step-000004" / file
    path.write_bytes(path.read_bytes()[:-20])
    trainer = make_trainer(tmp_path / "run", steps=4)
    with pytest.raises(UserError, match=r"remove .*step-000004: --resume then goes on from step 2"):
        trainer.restore(4)
    trainer.restore(2)


def test_a_training_state_of_other_parameters_is_refused(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", steps=2, runtime=OFTEN)
    trainer.run()
    file = trainer.checkpoints.path(2) / "training_state.pt"
    state = torch.load(file)
    state["optimiser"]["state"][0]["exp_avg"] = torch.zeros(2, 2)
    torch.save(state, file)
    with pytest.raises(UserError, match="the optimiser's state does not fit this model"):
        make_trainer(tmp_path / "run").restore(2)
