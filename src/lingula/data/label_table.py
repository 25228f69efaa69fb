"""The labels that the reports of a store give, as a table."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from lingula.core.errors import UserError
from lingula.core.files import atomic_file
from lingula.data.store_table import StoreTable
from lingula.data.text.vocabularies import VOCABULARIES, VocabularyName


def write_labels(store: StoreTable, path: Path, vocabulary: VocabularyName = "chexpert") -> dict[str, Counter[str]]:
    """Write one line per study with a report: study, patient, and each finding as 1, 0, -1 or blank (not mentioned).

    Args:
        store: A store with text.
        path: The CSV file; `--finding-columns` of `lingula data prepare csv` reads its columns.
        vocabulary: Which findings.

    Returns:
        Finding to how many studies are `present`, `absent`, `uncertain` and `not mentioned`.

    Raises:
        UserError: No study has text.
    """
    words = {1: "present", 0: "absent", -1: "uncertain", None: "not mentioned"}
    findings, read = VOCABULARIES[vocabulary].findings, VOCABULARIES[vocabulary].label_sections
    counts: dict[str, Counter[str]] = {finding: Counter() for finding in findings}
    rows = {study: row for row, study in reversed(list(enumerate(store.column("study_id")))) if store.text(row).strip()}
    if not rows:
        raise UserError(f"store {store.path} has no text to label", "Prepare it with a column of reports.")
    patients, sections = store.column("patient_id"), store.column("sections")
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["study_id", "patient_id", *findings])
        for study, row in sorted(rows.items(), key=lambda item: item[1]):
            labels = read(dict(sections[row]))
            writer.writerow([study, patients[row], *("" if labels[name] is None else labels[name] for name in findings)])
            for finding, value in labels.items():
                counts[finding][words[value]] += 1
    return counts
