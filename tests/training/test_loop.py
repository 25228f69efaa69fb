from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lingula.core.errors import UserError
from lingula.core.files import sha256_of_file
from lingula.methods.base import Losses
from lingula.training.logbook import read_metrics
from lingula.training.loop import Trainer, Validation


def weights_hash(folder: Path, step: int) -> str:
    return sha256_of_file(folder / "checkpoints" / f"step-{step:06d}" / "weights.safetensors")


@pytest.fixture
def straight(make_trainer: Callable[..., Trainer], tmp_path: Path) -> Path:
    make_trainer(tmp_path / "straight").run()
    return tmp_path / "straight"


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupted_run_goes_on_to_identical_weights(
    make_trainer: Callable[..., Trainer], straight: Path, tmp_path: Path, make_method: Callable[..., Any], workers: int
) -> None:
    folder = tmp_path / "interrupted"

    def interrupt_after_four(method: object, step: int) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    first = make_trainer(folder, workers=workers, validation=Validation(validators=[interrupt_after_four]))
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert first.done == 4
    second = make_trainer(folder, workers=workers, method=make_method(seed=99))
    second.restore(second.checkpoints.steps()[-1])
    assert second.done == 4
    second.run()
    assert weights_hash(folder, 12) == weights_hash(straight, 12)
    numbers = [[(e["step"], e["loss"]) for e in read_metrics(path) if "loss" in e] for path in (folder, straight)]
    assert [step for step, _ in numbers[0]] == [2, 4, 6, 8, 10, 12]
    assert numbers[0] == numbers[1]


def test_micro_batches_change_memory_not_the_course(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    """With one part per batch the second pass must redraw nothing and count no statistics twice."""
    plain = make_trainer(tmp_path / "plain", steps=3)
    parts = make_trainer(tmp_path / "parts", steps=3, optimisation={"micro_batch_size": 4})
    plain.run()
    parts.run()
    tracked = [trainer.method.get_buffer("tower.1.num_batches_tracked").item() for trainer in (plain, parts)]
    assert tracked == [3, 6]


def test_loss_falls(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    make_trainer(tmp_path / "run", steps=60).run()
    losses = [entry["loss"] for entry in read_metrics(tmp_path / "run") if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]


def test_loss_that_is_not_finite_stops_and_names_the_studies(
    make_trainer: Callable[..., Trainer], make_method: Callable[..., Any], make_loader: Callable[..., Any], tmp_path: Path
) -> None:
    trainer = make_trainer(tmp_path / "run", method=make_method(bad_step=8))
    with pytest.raises(
        UserError, match=r"loss of step 8 is nan.*--init-from \S+step-000006 .*intact.* lower --optimisation"
    ) as caught:
        trainer.run()
    study_ids = make_loader().batch(7).study_ids
    assert all(study_id in str(caught.value) for study_id in study_ids)
    assert all(torch.isfinite(value).all() for value in trainer.method.state_dict().values())


def test_gradient_that_is_not_finite_never_reaches_the_weights(
    make_trainer: Callable[..., Trainer], make_method: Callable[..., Any], tmp_path: Path
) -> None:
    method = make_method()
    method.log_temperature.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(UserError, match="gradient of step 1"):
        make_trainer(tmp_path / "run", method=method).run()
    assert all(torch.isfinite(value).all() for value in method.state_dict().values())


def test_keeps_initial_best_and_latest_checkpoints(
    make_trainer: Callable[..., Trainer], make_loader: Callable[..., Any], tmp_path: Path
) -> None:
    runtime = {"checkpoint_every": 1, "validate_every": 3}
    batch = make_loader().batch(0).batch
    trainer = make_trainer(tmp_path / "run", runtime=runtime, validation=Validation(batches=[lambda: batch]))
    trainer.run()
    validated = {e["step"]: e["validation/loss"] for e in read_metrics(tmp_path / "run") if "validation/loss" in e}
    best = min(validated, key=validated.__getitem__)
    assert sorted(validated) == [3, 6, 9, 12]
    assert trainer.checkpoints.best() == (best, validated[best])
    assert trainer.checkpoints.steps() == sorted({0, best, 11, 12})


def test_a_method_may_name_the_losses_that_choose_the_best(
    make_trainer: Callable[..., Trainer], make_loader: Callable[..., Any], tmp_path: Path
) -> None:
    batch = make_loader().batch(0).batch
    settings = {"runtime": {"validate_every": 3}, "validation": Validation(batches=[lambda: batch, lambda: batch])}
    trainer = make_trainer(tmp_path / "run", **settings)
    method = trainer.method
    trained = method.losses

    def losses(embeddings: Any, batch: Any) -> Losses:
        """On validation one term falls up to step 9, the other rises faster."""
        if method.training:
            return trained(embeddings, batch)
        terms = {"falls": torch.tensor(float(abs(9 - trainer.done))), "rises": torch.tensor(10.0 * trainer.done)}
        return Losses(terms, {"falls": 0.5}, best_by=("falls",))

    method.losses = losses  # type: ignore[method-assign]
    trainer.run()
    assert trainer.checkpoints.best() == (9, 0.0)
    validated = [entry for entry in read_metrics(tmp_path / "run") if "validation/loss" in entry]
    assert [entry["validation/best_by"] for entry in validated] == [3.0, 1.5, 0.0, 1.5]
    assert [entry["validation/loss"] for entry in validated] == [33.0, 61.5, 90.0, 121.5]


def test_a_resumed_run_still_knows_its_lowest_validation_loss(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    curve = {3: 2.0, 6: 1.0, 8: 1.7, 9: 1.5, 12: 1.2}
    settings: dict[str, Any] = {
        "runtime": {"checkpoint_every": 4, "validate_every": 3},
        "validation": Validation(validators=[lambda method, step: {"validation/loss": curve[step]}]),
    }
    make_trainer(tmp_path / "run", steps=8, **settings).run()
    resumed = make_trainer(tmp_path / "run", steps=12, **settings)
    resumed.restore(8)
    resumed.run()
    assert resumed.checkpoints.best() == (6, 1.0)
    assert 6 in resumed.checkpoints.steps()


def test_validation_sees_evaluation_mode_and_leaves_training_mode(
    make_trainer: Callable[..., Trainer], make_loader: Callable[..., Any], tmp_path: Path
) -> None:
    modes = []

    def validator(method: Any, step: int) -> dict[str, float]:
        modes.append((method.training, torch.is_grad_enabled()))
        return {"validation/auroc": 0.5}

    trainer = make_trainer(tmp_path / "run", steps=4, validation=Validation(validators=[validator]))
    trainer.run()
    assert modes == [(False, False)]
    assert trainer.method.training
    assert read_metrics(tmp_path / "run")[-1]["validation/auroc"] == 0.5


def test_validation_holds_no_more_in_memory_than_a_step(
    make_trainer: Callable[..., Trainer], make_loader: Callable[..., Any], tmp_path: Path
) -> None:
    batch = make_loader().batch(0).batch
    losses, sizes = [], []
    for micro in (None, 3):
        trainer = make_trainer(
            tmp_path / str(micro), optimisation={"micro_batch_size": micro}, validation=Validation([lambda: batch])
        )
        encode = trainer.method.encode

        def noting(part: Any, encode: Any = encode) -> Any:
            sizes.append(len(part))
            return encode(part)

        trainer.method.encode = noting  # type: ignore[method-assign]
        trainer.method.eval()
        with torch.no_grad():
            losses.append(trainer._validation_losses(trainer.method)["validation/loss"])
    assert sizes[0] == len(batch)
    assert max(sizes[1:]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_logbook_has_everything_a_curve_needs(straight: Path) -> None:
    entry = next(entry for entry in read_metrics(straight) if entry["step"] == 2)
    names = {"loss", "loss/contrastive", "temperature", "learning_rate", "gradient_norm", "images_per_second", "loader_wait"}
    assert names <= entry.keys()
    assert entry["learning_rate"] == pytest.approx(1e-2)
    assert 0 <= entry["loader_wait"] <= 1
    assert list((straight / "tensorboard").glob("events*"))


@pytest.mark.parametrize(("loading", "training", "low", "high"), [(0.0, 0.3, 0, 50), (0.3, 0.0, 60, 100)])
def test_the_line_of_the_bar_says_who_waits_for_whom(
    make_trainer: Callable[..., Trainer],
    run_folder: Path,
    capsys: pytest.CaptureFixture[str],
    loading: float,
    training: float,
    low: int,
    high: int,
) -> None:
    trainer = make_trainer(run_folder, steps=6, runtime={"log_every": 6})
    batches = trainer.loader.batches

    def slowly(*span: int) -> Iterator[Any]:
        for item in batches(*span):
            time.sleep(loading)
            yield item

    trainer.loader.batches = slowly
    trainer.method.at_step = lambda *_: time.sleep(training)  # type: ignore[method-assign]
    trainer.run()
    said = re.findall(r"images/s, (\d+)% of the time waiting for data", capsys.readouterr().err)
    assert said
    assert low <= int(said[-1]) <= high
