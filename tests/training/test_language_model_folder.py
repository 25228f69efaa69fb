"""`lingula pretrain language-model`: a folder that is whole or absent, and that the text encoder takes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.models.text_config import LanguageModelConfig, TextEncoderConfig
from lingula.models.text_encoder import load_text_encoder
from lingula.training import language_model
from lingula.training.language_model import gather_reports, pretrain_language_model, report_texts

REPORTS = [
    {"id": n, "findings": f"There is {amount} {finding}. Heart normal.", "impression": f"{amount} {finding}."}
    for n, (amount, finding) in enumerate((a, f) for a in ("no", "small", "large") for f in ("effusion", "nodule", "mass"))
]
TINY = LanguageModelConfig(
    vocabulary=90, layers=1, width=16, heads=2, max_tokens=32, steps=3, word_steps=4, sentence_steps=2, sentence_pairs=4
)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    file = tmp_path / "reports.jsonl"
    file.write_text("".join(json.dumps(report) + "\n" for report in REPORTS))
    return file


def train(folder: Path, file: Path, **options: object) -> Path:
    return pretrain_language_model(TINY, folder, files=[file], progress=False, **options)  # type: ignore[arg-type]


def test_the_folder_is_complete_and_the_text_encoder_takes_it(reports: Path, tmp_path: Path) -> None:
    folder = train(tmp_path / "lm", reports)
    encoder = load_text_encoder(TextEncoderConfig(name=str(folder)))
    assert encoder.frozen
    about = json.loads((folder / "environment.json").read_text())
    assert about["fingerprint"] == encoder.fingerprint()
    assert (about["reports"], about["seed"], about["files"]) == (9, 0, [str(reports)])
    assert LanguageModelConfig(**yaml.safe_load((folder / "language_model.yaml").read_text())) == TINY
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == sorted({entry["step"] for entry in entries})
    assert entries[-1]["step"] == 9
    assert {"word_loss", "masked_loss", "matching_loss"} == {name for entry in entries for name in entry} - {"step", "time"}
    assert (
        train(tmp_path / "again", reports).joinpath("model.safetensors").read_bytes()
        == (folder / "model.safetensors").read_bytes()
    )


def test_the_command_prints_its_configuration_and_trains(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lm"
    sizes = ["--layers", "0", "--width", "8", "--word-steps", "3", "--vocabulary", "64"]
    main(["pretrain", "language-model", "--texts", str(reports), "--run", str(out), *sizes])
    said = capsys.readouterr()
    assert "word_steps: 3" in said.err
    assert "9 reports" in said.err
    assert f"--text-encoder.name {out}" in said.out
    assert load_text_encoder(out).dimension == 8


def test_an_older_folder_is_replaced_only_when_asked_and_only_at_the_end(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(tmp_path / "lm", reports)
    before = load_text_encoder(folder).fingerprint()
    with pytest.raises(UserError, match="exists already"):
        train(folder, reports)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(language_model, "train_language_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(folder, reports, overwrite=True)
    assert load_text_encoder(folder).fingerprint() == before
    assert {path.name for path in tmp_path.iterdir()} == {"lm", "reports.jsonl"}
    train(folder, reports, overwrite=True, seed=1)
    assert load_text_encoder(folder).fingerprint() != before


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own answer to SIGINT, which a shell's background jobs start without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_says_what_is_kept_and_leaves_nothing_behind(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = []

    def press(steps: int, values: object) -> None:
        begun.append(steps)
        if steps == 3:
            signal.raise_signal(signal.SIGINT)

    original = language_model.train_language_model
    monkeypatch.setattr(language_model, "train_language_model", lambda *given: original(*given[:-1], press))
    command = ["pretrain", "language-model", "--texts", str(reports), "--run", str(tmp_path / "lm"), "--vocabulary", "64"]
    with pytest.raises(SystemExit) as left:
        main([*command, "--width", "8"])
    assert left.value.code == 130
    assert begun == [1, 2, 3]
    assert "was finished: there is none; run it again" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["reports.jsonl"]
    monkeypatch.undo()
    older = train(tmp_path / "lm", reports)
    monkeypatch.setattr(language_model, "train_language_model", lambda *given: original(*given[:-1], press))
    with pytest.raises(SystemExit):
        main([*command, "--width", "8", "--overwrite"])
    assert "the older one is as it was" in capsys.readouterr().err
    assert load_text_encoder(older).dimension > 8
    assert {path.name for path in tmp_path.iterdir()} == {"lm", "reports.jsonl"}


def test_a_folder_of_something_else_is_never_touched(reports: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no language model of ours"):
        train(tmp_path / "mine", reports, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def test_reports_come_from_files_and_only_from_the_training_split_of_stores(reports: Path, tmp_path: Path) -> None:
    from lingula.data.phantom.source import PhantomSource
    from lingula.data.prepare import prepare
    from lingula.data.prepare_config import PrepareConfig

    source = PhantomSource(3, 2, 2, size=32)
    prepare(source, tmp_path / "store", PrepareConfig(size=32), workers=1)
    found = gather_reports([tmp_path / "store"], [reports], ())
    studies = list(source)
    assert found[:3] == [study.report.sections for study in studies[:3] if study.report]
    assert len(found) == 3 + 9
    assert "no effusion." in report_texts(found)
    with pytest.raises(UserError, match="nothing to read"):
        gather_reports([], [], ())
