"""What a store holds, as tables for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from rich.table import Table

from lingula.data.splits import SPLITS
from lingula.data.store_table import StoreTable
from lingula.data.text.duplicates import count_duplicates
from lingula.data.text.labeller import READ_SECTIONS, sentence_mentions
from lingula.data.text.sections import SEPARATOR
from lingula.data.text.sentences import split_sentences

EXAMPLE = "study, for example"
"""Header of the column that names a study by the store's id."""


def describe(store: StoreTable) -> list[Table]:
    """Return tables of counts, groups, labels, licences and quarantine, ready for `rich.print`."""
    return list(tables_by_part(store).values())


def tables_by_part(store: StoreTable) -> dict[str, Table]:
    """Return the same tables by what they are about; what a store has nothing of has no table."""
    tables = {"counts": _counts(store), "groups": _groups(store), "repeats": _repeats(store)}
    if store.rows(with_text=True).size:
        tables["texts"] = _texts(store)
    if store.findings:
        tables["labels"] = _labels(store)
    tables["licences"] = _licences(store)
    if skipped := store.about["settings"]["source_settings"].get("skipped"):
        tables["skipped"] = _skipped(skipped)
    if store.quarantine.num_rows:
        tables["quarantine"] = _quarantine(store)
    return tables


def _table(title: str, first: str, others: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    return table


def _counts(store: StoreTable) -> Table:
    """Images, studies, patients and text per split."""
    table = _table(f"{store.name}: {store.summary()}", "", (*SPLITS, "all"))
    names = {"images": "images", "images_with_text": "images with text", "studies": "studies", "patients": "patients"}
    for key, name in names.items():
        table.add_row(name, *(f"{store.about['counts'][split][key]:,}" for split in (*SPLITS, "all")))
    words = [np.array([len(store.text(row).split()) for row in rows]) for rows in _rows_by_split(store, with_text=True)]
    table.add_row("words per text (median)", *(f"{np.median(counts):.0f}" if counts.size else "-" for counts in words))
    table.add_row(
        "distinct texts", *(f"{len({store.text(r) for r in rows}):,}" for rows in _rows_by_split(store, with_text=True))
    )
    return table


def _rows_by_split(store: StoreTable, with_text: bool | None = None) -> list[np.ndarray]:
    return [store.rows(split, with_text=with_text) for split in (*SPLITS, None)]


def _groups(store: StoreTable) -> Table:
    """Projection, sex, age and image size per split."""
    table = _table("Who and how", "", (*SPLITS, "all"))
    extra = store.column("extra")
    for name, values in {"projection": store.column("projection"), "sex": [each.get("sex", "unknown") for each in extra]}.items():
        for value, _ in Counter(values).most_common(6):
            table.add_row(f"{name} {value}", *(f"{sum(values[r] == value for r in rows):,}" for rows in _rows_by_split(store)))
    ages = np.array([as_number(each.get("age", "")) for each in extra])
    for name, numbers in {"age, years": ages, **store.sizes()}.items():
        table.add_row(f"{name}: median", *(_median(numbers[rows]) for rows in _rows_by_split(store)))
        table.add_row(f"{name}: range", *(_range(numbers[rows]) for rows in _rows_by_split(store)))
    table.add_row("age unknown", *(f"{np.isnan(ages[rows]).sum():,}" for rows in _rows_by_split(store)))
    with_regions = np.array([bool(each) for each in store.column("regions")])
    table.add_row("images with regions", *(f"{with_regions[rows].sum():,}" for rows in _rows_by_split(store)))
    return table


def _repeats(store: StoreTable) -> Table:
    """Images (by the hash of their stored pixels) and texts that occur more than once, and in more than one split."""
    columns = ("items", "distinct", "repeat another", "in several splits")
    table = _table("Repeated, exactly", "", columns)
    splits = store.column("split")
    texts = [(store.text(row), splits[row]) for row in {name: row for row, name in enumerate(store.column("study_id"))}.values()]
    for name, items in {
        "images": list(zip(store.column("pixel_sha256"), splits, strict=True)),
        "texts (one per study)": [item for item in texts if item[0]],
    }.items():
        kinds: dict[str, set[str]] = {}
        for key, split in items:
            kinds.setdefault(key, set()).add(split)
        across = sum(len(found) > 1 for found in kinds.values())
        table.add_row(name, *(f"{n:,}" for n in (len(items), len(kinds), len(items) - len(kinds), across)))
    return table


def _texts(store: StoreTable) -> Table:
    """Sections, repetition, and how findings are spoken of, one report per study."""
    table = _table("Report text (one per study)", "", (*SPLITS, "all"))
    parts = [_reports(store, rows) for rows in _rows_by_split(store, with_text=True)]
    repeated = [count_duplicates(SEPARATOR.join(sections.values()) for sections in reports) for reports in parts]
    both = [sum(all(sections.get(n) for n in ("findings", "impression")) for sections in reports) for reports in parts]
    table.add_row("reports", *(f"{len(reports):,}" for reports in parts))
    table.add_row("with findings and impression", *map(_share, both, map(len, parts)))
    table.add_row("repeat another, word by word", *(_share(each.exact, each.texts) for each in repeated))
    table.add_row("repeat another's template", *(_share(each.near, each.texts) for each in repeated))
    said = [Counter(value for sections in reports for value in _mentions(sections)) for reports in parts]
    for name, value in {"present": 1, "denied": 0, "uncertain": -1}.items():
        table.add_row(f"findings named, {name}", *(_share(count[value], count.total()) for count in said))
    return table


def _reports(store: StoreTable, rows: np.ndarray) -> list[dict[str, str]]:
    """Return the sections of each study once."""
    studies, sections = store.column("study_id"), store.column("sections")
    return list({studies[row]: dict(sections[row]) for row in rows}.values())


def _mentions(sections: dict[str, str]) -> list[int]:
    read = [text for name, text in sections.items() if name in READ_SECTIONS]
    return [value for text in read for sentence in split_sentences(text) for _, value in sentence_mentions(sentence)]


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else "-"


def as_number(text: str) -> float:
    """Return the number that a text is, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _median(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    return _figure(float(np.median(known))) if known.size else "-"


def _range(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    if not known.size:
        return "-"
    low, high = known.min(), known.max()
    return f"{_figure(low)}{'-' if low >= 0 else ' to '}{_figure(high)}"


def _figure(value: float) -> str:
    """Write a number in whole units, small ones with up to three digits."""
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.0f}"


def _labels(store: StoreTable) -> Table:
    """Images labelled present per split; absent, uncertain and prevalence among all labelled."""
    table = _table("Labels (images labelled present)", "finding", (*SPLITS, "all", "absent", "uncertain", "prevalence"))
    present = store.labels(range(len(store)), store.findings) == 1
    for number, finding in sorted(enumerate(store.findings), key=lambda item: -int(present[:, item[0]].sum())):
        counts = store.about["findings"][finding]
        known = counts["present"] + counts["absent"]
        table.add_row(
            finding,
            *(f"{present[rows, number].sum():,}" for rows in _rows_by_split(store)),
            f"{counts['absent']:,}",
            f"{counts['uncertain']:,}",
            f"{counts['present'] / known:.1%}" if known else "-",
        )
    return table


def _licences(store: StoreTable) -> Table:
    table = _table("Licences", "licence", ("images",))
    for licence, count in Counter(store.column("licence")).most_common():
        table.add_row(licence or store.about["licence"] or "not stated", f"{count:,}")
    return table


def _skipped(reasons: dict[str, int]) -> Table:
    table = _table("Left out by the source, with the reason", "reason", ("items",))
    for reason, count in reasons.items():
        table.add_row(reason, f"{count:,}")
    return table


def _quarantine(store: StoreTable) -> Table:
    table = _table("Quarantine: left out, with the reason", "reason", ("items", EXAMPLE))
    reasons, studies = (store.quarantine.column(name).to_pylist() for name in ("reason", "study_id"))
    for reason, count in Counter(reasons).most_common():
        table.add_row(reason, f"{count:,}", studies[reasons.index(reason)])
    return table
