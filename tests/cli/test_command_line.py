"""The command line: light help, one-line errors with exit code 2, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lingula.cli import COMMANDS, main

HEAVY = ["torch", "timm", "transformers", "sklearn", "matplotlib", "pyarrow", "scipy", "pydicom"]
METHODS = ["clip", "m-flag", "supervised"]
HELP = [*(name.split() for name in COMMANDS), *(["pretrain", method] for method in METHODS), []]


def test_help_of_every_command_imports_nothing_heavy() -> None:
    code = f"""
import contextlib, io, sys
from lingula.cli import main
for words in {HELP!r}:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main([*words, "--help"])
    assert "usage" in out.getvalue(), words
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with exit code 2 and return what it says."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pretain"], "Did you mean 'pretrain'?"),
        (["pretrain", "mflag"], "Did you mean 'm-flag'?"),
        (["pretrain", "m-flag", "--preset", "relased"], "Did you mean 'released'?"),
        (["pretrain", "clip", "--config", "nowhere.yaml"], "no such configuration file: nowhere.yaml"),
        (["pretrain", "clip", "--store", "nowhere", "--run", "r"], "nowhere"),
        (["data", "prepare", "csv", "--table", "nowhere.csv", "--store", "s"], "no such table: nowhere.csv"),
        (["data", "prepare", "dicom", "--root", "nowhere", "--store", "s"], "no such folder of images: nowhere"),
        (["data", "describe", "nowhere"], "nowhere"),
        (["evaluate", "nowhere", "--store", "nowhere"], "nowhere"),
        (["predict", "nowhere", "image.png", "--prompt", "effusion"], "no such run: nowhere"),
        (["report", "nowhere"], "nowhere is not a run"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(arguments, capsys)
    assert said in message
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert not list(tmp_path.iterdir())


WARNS = """
import warnings
from lingula import cli

class Command:
    def run(self):
        warnings.warn("two reports are cut")
        warnings.warn("an option will go", FutureWarning)

cli._load = lambda *_: Command()
cli.main(["report", "r"])
"""


def test_a_warning_is_one_line_without_code() -> None:
    done = subprocess.run([sys.executable, "-c", WARNS], capture_output=True, text=True, check=True)
    assert done.stderr == "warning: two reports are cut\n"


def test_misspelt_key_of_a_yaml_file_gets_the_nearest_right_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("optimisation:\n  batchsize: 12\n")
    assert "Did you mean 'batch_size'?" in refused(["pretrain", "clip", "--config", str(file)], capsys)


def test_unknown_option_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--optimisation.batch-size" in refused(["pretrain", "clip", "--optimisation.batchsize", "12"], capsys)


def test_print_config_reads_back_as_the_same_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["pretrain", "m-flag", "--preset", "released", "--optimisation.batch-size", "64", "--print-config"])
    first = capsys.readouterr().out
    assert "batch_size: 64" in first
    (tmp_path / "config.yaml").write_text(first)
    main(["pretrain", "m-flag", "--preset", "released", "--config", str(tmp_path / "config.yaml"), "--print-config"])
    assert capsys.readouterr().out == first


def test_option_beats_file_and_file_beats_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("optimisation:\n  batch_size: 32\n  learning_rate: 0.25\n")
    main(["pretrain", "clip", "--config", str(file), "--optimisation.batch-size", "16", "--print-config"])
    printed = capsys.readouterr().out
    assert "batch_size: 16" in printed
    assert "learning_rate: 0.25" in printed
