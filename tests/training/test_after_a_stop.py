"""What a stopped training advises is done word for word, and works."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from lingula.cli import main
from lingula.training.run import Run

SPECIFICATION = importlib.util.spec_from_file_location("pretraining", Path(__file__).with_name("test_pretrain.py"))
pretraining: Any = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(pretraining)
HOT = ["--optimisation.learning-rate", "1e30", "--optimisation.warmup", "0"]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """`lingula pretrain clip` with a small configuration."""
    store = pretraining.make_store(tmp_path / "source", 40, 30)
    pretraining.recipe_for(store).to_yaml(tmp_path / "config.yaml")
    return ["pretrain", "clip", "--config", str(tmp_path / "config.yaml")]


def refused(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == code
    return capsys.readouterr().err


def test_after_a_nan_a_new_run_begins_from_the_last_good_checkpoint(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused([*command, "--run", str(tmp_path / "hot"), *HOT], capsys)
    (advice,) = re.findall(r"Begin a new run with (--init-from \S+) .*lower (--optimisation.learning-rate)", said)
    start = advice[0].split()
    assert "not finite" in said or "is nan" in said or "is inf" in said
    assert Path(start[1]) == Run(tmp_path / "hot").checkpoints.find("last")
    assert "another optimisation.learning_rate" in refused(
        [*command, "--run", str(tmp_path / "hot"), "--resume", advice[1], "1e-4"], capsys
    )
    main([*command, "--run", str(tmp_path / "new"), *start, advice[1], "1e-4"])
    assert Run(tmp_path / "new").checkpoints.steps()[-1] == 4
    assert Run(tmp_path / "new").fingerprint("initial") == Run(tmp_path / "hot").fingerprint("last")


def test_after_ctrl_c_the_same_command_goes_on_with_resume(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from lingula.training.loop import Trainer

    step = Trainer._step

    def interrupted(trainer: Trainer, item: Any) -> Any:
        if item.step == 2:
            signal.raise_signal(signal.SIGINT)
        return step(trainer, item)

    words = [*command, "--run", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        said = refused(words, capsys, code=130)
    assert f"stopped after step 3 of 4, which is saved in {tmp_path / 'run/checkpoints/step-000003'}" in said
    assert "give the same command with --resume to go on" in said
    main([*words, "--resume"])
    assert Run(tmp_path / "run").checkpoints.steps()[-1] == 4
    assert "--resume and --init-from exclude each other" in refused(
        [*words, "--resume", "--init-from", str(tmp_path / "run")], capsys
    )
