"""`lingula pretrain language-model`: a language model of its own, from stores and text files, kept in a folder."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lingula.core.errors import UserError
from lingula.core.files import atomic_folder, write_json
from lingula.data.open_store import open_store
from lingula.data.report_files import read_reports
from lingula.data.text.views import text_views
from lingula.methods.language_model import train_language_model
from lingula.models.text_config import LanguageModelConfig
from lingula.training.environment import describe_environment
from lingula.training.logbook import METRICS
from lingula.training.report_pairs import report_pairs

SETTINGS, ENVIRONMENT = "language_model.yaml", "environment.json"
LOG_EVERY = 10


def pretrain_language_model(
    config: LanguageModelConfig,
    folder: Path,
    stores: Sequence[Path] = (),
    files: Sequence[Path] = (),
    columns: Sequence[str] = (),
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Train a language model on reports and leave a folder that `text_encoder.name` takes.

    The folder appears when everything is done: weights, tokeniser and pooling in Hugging Face layout, `language_model.yaml`,
    `environment.json` and `metrics.jsonl`. An interrupted training leaves nothing, and an older folder as it was.

    Args:
        config: Sizes and schedule.
        folder: The folder to make.
        stores: Stores whose training reports are used.
        files: Text files, one report a line (`.txt`), JSON object (`.jsonl`) or row (`.csv`).
        columns: Which keys or columns of the files hold text, in reading order.
        seed: Decides everything random.
        overwrite: Replace an older folder.
        progress: Show progress bars.

    Raises:
        UserError: The folder is there already, a source cannot be read, or there is too little text.
    """
    _check_folder(folder, overwrite)
    reports = gather_reports(stores, files, columns)
    texts = report_texts(reports)
    pairs = report_pairs(reports, seed)
    print(f"{len(reports):,} reports, {len(texts):,} distinct texts, {len(pairs):,} pairs", file=sys.stderr)
    begun, ends = time.monotonic(), _phase_ends(config)
    with atomic_folder(folder.absolute()) as made:
        with (made / METRICS).open("w", encoding="utf-8") as log:

            def note(step: int, values: Mapping[str, float]) -> None:
                if step % LOG_EVERY == 0 or step in ends or step - 1 in ends:
                    log.write(json.dumps({"step": step, "time": round(time.time(), 3), **values}) + "\n")
                    log.flush()

            encoder = train_language_model(texts, config, seed, progress, pairs, note)
        encoder.save(made)
        config.to_yaml(made / SETTINGS)
        sources = {"stores": [str(path) for path in stores], "files": [str(path) for path in files], "columns": list(columns)}
        counts = {"reports": len(reports), "texts": len(texts), "pairs": len(pairs)}
        about = {"seed": seed, "seconds": round(time.monotonic() - begun, 1), "fingerprint": encoder.fingerprint()}
        write_json(made / ENVIRONMENT, describe_environment(torch.device("cpu"), 1) | sources | counts | about)
        if folder.exists():
            shutil.rmtree(folder)
    return folder


def gather_reports(stores: Sequence[Path], files: Sequence[Path], columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the reports of stores (training split only; one per study) and files, as section name to text.

    Raises:
        UserError: There is no source, one cannot be read, or a store has no training report.
    """
    if not stores and not files:
        raise UserError("there is nothing to read", "Give --store, --texts, or both.")
    reports: list[dict[str, str]] = []
    for path in stores:
        store = open_store(path)
        sections, studies = store.column("sections"), store.column("study_id")
        found = {studies[row]: dict(sections[row]) for row in store.rows("train", with_text=True)}
        if not found:
            raise UserError(f"the store {path} has no report in its training split", "Leave it out.")
        reports += found.values()
    return reports + [report for path in files for report in read_reports(path, columns)]


def report_texts(reports: Sequence[Mapping[str, str]]) -> list[str]:
    """List every distinct text of reports: the whole report, and its sentences."""
    joined = (" ".join(part.strip() for part in report.values() if part.strip()) for report in reports)
    return list(dict.fromkeys(text for whole in joined for text in text_views(whole, "mixed")))


def _phase_ends(config: LanguageModelConfig) -> set[int]:
    """Return the steps after which a phase ends, 0 included."""
    later = (config.steps, config.sentence_steps) if config.layers else ()
    return {0, *itertools.accumulate((config.word_steps, *later))}


def _check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse to replace anything but an older language model, and that only when asked."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / SETTINGS).is_file():
        raise UserError(f"{folder} exists and is no language model of ours", "Choose another --run folder.")
    if not overwrite:
        raise UserError(f"the language model {folder} exists already", "Choose another --run, or replace it with --overwrite.")
