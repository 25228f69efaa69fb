"""The data page: what is in a store, as one self-contained HTML file that names no patient, study or file."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from lingula.core.drawing import slug
from lingula.core.files import write_text
from lingula.core.page import render_page
from lingula.data import data_figures as figures
from lingula.data.contact_sheet import draw_contact_sheet
from lingula.data.describe import EXAMPLE, as_number, tables_by_part
from lingula.data.phi import FATES, count_leaks, leaks_of_store
from lingula.data.splits import SPLITS
from lingula.data.store import Store
from lingula.data.study import Split
from lingula.data.volume_sheet import draw_volume_sheet
from lingula.data.volume_store import VolumeStore

SHEET, VOLUMES = 8, 2
"""Radiographs or volumes on the contact sheet of a split."""
PHANTOM = "phantom"
PLACED = ("counts", "groups", "repeats", "texts", "labels")
"""Tables that have a place of their own on the page; the others stand together."""


def write_data_page(store: Store | VolumeStore, path: Path, with_text: bool = False) -> Path:
    """Write the page of a store, and return its path.

    Args:
        store: The store.
        path: The HTML file; an old one is replaced.
        with_text: Show report text on the contact sheets, with what looks like a name, date or number masked.
    """
    write_text(path, render_data_page(store, with_text))
    return path


def render_data_page(store: Store | VolumeStore, with_text: bool = False) -> str:
    """Return the page as HTML text without any reference to another file or host."""
    tables: dict[str, Any] = {part: _html_table(table) for part, table in tables_by_part(store).items()}
    phantom = store.name.lower().startswith(PHANTOM)
    tables["others"] = [table for part, table in tables.items() if part not in PLACED]
    return render_page(
        "lingula.data",
        "data.html.j2",
        kind="data",
        title=store.name,
        phantom=phantom,
        tiles=_tiles(store),
        facts=_facts(store),
        tables=tables,
        people=_people(store),
        hounsfield=figures.hounsfield_histogram(store) if isinstance(store, VolumeStore) else "",
        texts=_texts(store),
        labels=_labels(store),
        quarantine=figures.reason_bars(store.about["quarantine_reasons"]) if store.about["quarantine_reasons"] else "",
        leaks=[
            {"where": where, "kind": kind, "what": what, "count": f"{count:,}", "fate": FATES[where]}
            for (where, kind, what), count in count_leaks([] if phantom else leaks_of_store(store)).items()
        ],
        sheets=sheets(store, with_text),
        with_text=with_text,
    )


def _html_table(table: Table) -> dict[str, Any]:
    """Return a table of the terminal as plain cells, without the column that names a study."""
    columns = [column for column in table.columns if column.header != EXAMPLE]
    rows = list(zip(*(map(str, column.cells) for column in columns), strict=True))
    return {"title": str(table.title), "header": [str(each.header) for each in columns], "rows": rows}


def _tiles(store: Store | VolumeStore) -> list[tuple[str, str]]:
    counts = store.about["counts"]["all"]
    told = {"images": "images", "studies": "studies", "patients": "patients", "images_with_text": "images with text"}
    tiles = [(f"{counts[key]:,}", name) for key, name in told.items()]
    return [*tiles, (f"{len(store.findings):,}", "findings labelled"), (f"{store.about['quarantined']:,}", "quarantined")]


def _facts(store: Store | VolumeStore) -> list[tuple[str, str]]:
    settings = store.about["settings"]
    return [
        ("holds", store.summary()),
        ("licence", store.about["licence"] or "not stated"),
        ("citation", store.about["citation"] or "not stated"),
        ("identifiers", "salted hashes" if settings.get("identifiers") == "hashed" else "as in the source"),
        ("fingerprint", store.fingerprint[:12]),
    ]


def _people(store: Store | VolumeStore) -> list[str]:
    """Draw projection, sex, age and size."""
    extra = store.column("extra")
    parts = figures.rows_by_split(store)
    ages = np.array([as_number(each.get("age", "")) for each in extra])
    drawn = [figures.group_bars(store, store.column("projection"), "projection", "Projection")]
    if any(each.get("sex") for each in extra):
        drawn.append(figures.group_bars(store, [each.get("sex") or "unknown" for each in extra], "sex", "Sex"))
    for name, numbers in {"age, years": ages, **store.sizes()}.items():
        title, unit = name.split(", ")
        values = {split: numbers[rows] for split, rows in parts.items()}
        drawn.append(figures.histogram(values, slug(name), title.capitalize(), unit))
    return [each for each in drawn if each]


def _texts(store: Store | VolumeStore) -> list[str]:
    """Draw how long reports are and which sections they have, one report per study; nothing where there is no text."""
    reports: dict[str, list[Mapping[str, str]]] = {}
    sections, studies = store.column("sections"), store.column("study_id")
    for split, rows in figures.rows_by_split(store).items():
        found = {studies[row]: sections[row] for row in rows if store.text(row)}
        reports[split] = list(found.values())
    if not any(reports.values()):
        return []
    words = {
        split: np.array([float(sum(len(text.split()) for text in each.values())) for each in found])
        for split, found in reports.items()
    }
    return [figures.histogram(words, "words", "Report length", "words"), figures.section_bars(reports)]


def _labels(store: Store | VolumeStore) -> dict[str, str]:
    if not store.findings:
        return {}
    return {"prevalence": figures.prevalence_dots(store), "together": figures.co_occurrence(store)}


def sheets(store: Store | VolumeStore, with_text: bool) -> list[dict[str, str]]:
    """Draw a contact sheet of each split that has images: split and PNG in base64."""
    drawn = []
    with tempfile.TemporaryDirectory() as folder:
        for split in SPLITS:
            if store.rows(split).size:
                file = _sheet(store, Path(folder) / f"{split}.png", split, with_text)
                drawn.append({"split": split, "png": base64.b64encode(file.read_bytes()).decode()})
    return drawn


def _sheet(store: Store | VolumeStore, file: Path, split: Split, with_text: bool) -> Path:
    if isinstance(store, VolumeStore):
        return draw_volume_sheet(store, file, split=split, count=VOLUMES, words=with_text)
    return draw_contact_sheet(store, file, split=split, count=SHEET, words=with_text)
