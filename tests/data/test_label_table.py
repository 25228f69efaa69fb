"""Labels read out of reports: into a store, and into a table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.label_table import write_labels
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.text.ct_lexicon import CT_FINDINGS
from lingula.data.text.lexicon import FINDINGS

MakeTable = Callable[..., Path]
ROWS = [
    {"image": "0.png", "study_id": "s", "patient_id": "p", "report": "FINDINGS: No effusion. Cardiomegaly.", "Pneumonia": "1"},
    {"image": "1.png", "study_id": "s", "patient_id": "p", "report": "FINDINGS: No effusion. Cardiomegaly."},
    {
        "image": "2.png",
        "study_id": "t",
        "patient_id": "q",
        "report": "IMPRESSION: Possible effusion. No pneumonia.",
        "Pneumonia": "1",
    },
    {"image": "3.png", "study_id": "u", "patient_id": "r"},
]


def test_prepare_labels_from_text_and_keeps_what_the_source_says(make_table: MakeTable, tmp_path: Path) -> None:
    table, store = make_table(ROWS), tmp_path / "store"
    options = [
        "--table",
        str(table),
        "--store",
        str(store),
        "--finding-columns",
        "Pneumonia",
        "--workers",
        "1",
        "--keep-identifiers",
    ]
    main(["data", "prepare", "csv", *options, "--labels-from-text"])
    labels = {study: dict(each) for study, each in zip(*map(Store.open(store).column, ("study_id", "labels")), strict=True)}
    assert labels["s"] == {"No Finding": 0, "Cardiomegaly": 1, "Pleural Effusion": 0, "Pneumonia": 1}
    assert labels["t"] == {"No Finding": 0, "Pleural Effusion": -1, "Pneumonia": 1}
    assert labels["u"] == {"Pneumonia": None}
    with pytest.raises(SystemExit):
        main(["data", "prepare", "csv", *options])


def test_a_table_has_one_line_per_study_with_text(
    make_table: MakeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    prepare(CsvSource(make_table(ROWS)), store, PrepareConfig(size=32), workers=1)
    main(["data", "label", str(store), "--out", str(tmp_path / "labels.csv")])
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["study_id"] for row in rows] == ["s", "t"]
    assert [row["patient_id"] for row in rows] == ["p", "q"]
    assert list(rows[0])[2:] == list(FINDINGS)
    assert [rows[0][name] for name in ("Cardiomegaly", "Pleural Effusion", "Pneumonia")] == ["1", "0", ""]
    assert [rows[1][name] for name in ("Cardiomegaly", "Pleural Effusion", "Pneumonia")] == ["", "-1", "0"]
    printed = {line.split("  ")[0]: line.split()[-5:] for line in capsys.readouterr().out.splitlines()}
    assert printed["Pleural Effusion"][-4:] == ["0", "1", "1", "0"]
    main(["data", "label", str(store), "--out", str(tmp_path / "ct.csv"), "--vocabulary", "ct-rate"])
    with (tmp_path / "ct.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert tuple(first)[2:] == CT_FINDINGS
    assert (first["Cardiomegaly"], first["Pleural effusion"], second["Pleural effusion"]) == ("1", "0", "-1")


def test_a_store_without_text_has_nothing_to_label(make_table: MakeTable, tmp_path: Path) -> None:
    prepare(CsvSource(make_table([{"image": "0.png"}])), tmp_path / "store", PrepareConfig(size=32), workers=1)
    with pytest.raises(UserError, match="no text"):
        write_labels(Store.open(tmp_path / "store"), tmp_path / "labels.csv")
    assert not (tmp_path / "labels.csv").exists()
