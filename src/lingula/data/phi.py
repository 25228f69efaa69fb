"""Whether what is to be prepared still names patients: warned of, or refused; values are never told."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lingula.core.errors import UserError
from lingula.data.phi_text import Kind, find_phi
from lingula.data.store_table import StoreTable
from lingula.data.study import Study

LISTED = 5
"""How many different leaks a refusal names."""
OLDEST = 89
"""The oldest age in years that identifies nobody."""
FATES = {
    "header": "headers are not stored",
    "report": "report text is stored as it is",
    "column": "the store keeps these cells in `extra`",
    "pixels": "pixels are stored as they are",
}


@dataclass(frozen=True)
class Leak:
    """Something that tells who a patient is, in one image, report or row.

    Args:
        where: `header`, `report`, `column` or `pixels`.
        what: The tag, pattern or column.
        kind: name, date, number, contact, place, remark, age over 89, text or face.
        file: The image, or the first image of the study, as the source names it.
    """

    where: str
    what: str
    kind: str
    file: str


@runtime_checkable
class WithHeaders(Protocol):
    """A source that has looked into the headers of its files.

    Args:
        leaks: What they hold.
    """

    leaks: list[Leak]


def leaks_of(source: Iterable[Study]) -> list[Leak]:
    """Find leaks in headers, reports and kept cells of a source's studies; each pattern counts once per study."""
    headers = source.leaks if isinstance(source, WithHeaders) else []
    texts = ((study.images[0].path, study.report.text if study.report else "", study.extra) for study in source if study.images)
    return [*headers, *(leak for file, report, extra in texts for leak in _leaks_in(file, report, extra))]


def leaks_of_store(store: StoreTable) -> list[Leak]:
    """Find leaks in the reports and kept cells of a store, once per study; its files are called by the store's own ids.

    What the headers said of burned-in text is among them, other tags are not stored.
    """
    rows = {name: row for row, name in enumerate(store.column("study_id"))}
    extra = store.column("extra")
    leaks = [leak for name, row in rows.items() for leak in _leaks_in(name, store.text(row), extra[row])]
    burned = [name for name, row in rows.items() if extra[row].get("burned_in_annotation", "").upper() == "YES"]
    return [*leaks, *(Leak("pixels", "BurnedInAnnotation", "text or face", name) for name in burned)]


def _leaks_in(file: str, report: str, extra: Mapping[str, str]) -> Iterator[Leak]:
    found: dict[str, Kind] = {hit.pattern: hit.kind for hit in find_phi(report)}
    yield from (Leak("report", pattern, kind, file) for pattern, kind in found.items())
    for column, text in extra.items():
        if column == "age" and _is_over(text, OLDEST):
            yield Leak("column", column, "age over 89", file)
        for kind in {hit.kind for hit in find_phi(text)}:
            yield Leak("column", column, kind, file)


def _is_over(text: str, years: float) -> bool:
    try:
        return float(text) > years
    except ValueError:
        return False


def warn(leaks: Sequence[Leak]) -> None:
    """Say on standard error what was found and how often, without files and values."""
    counted = count_leaks(leaks)
    for where, fate in FATES.items():
        told = [f"{kind} ({what}): {count:,}" for (place, kind, what), count in counted.items() if place == where]
        if told:
            print(f"warning: patients' data by {where}: {', '.join(told)}; {fate}", file=sys.stderr)


def count_leaks(leaks: Iterable[Leak]) -> dict[tuple[str, str, str], int]:
    """Return place, kind and tag or pattern to the number of files or studies that have it."""
    files: dict[tuple[str, str, str], set[str]] = {}
    for leak in leaks:
        files.setdefault((leak.where, leak.kind, leak.what), set()).add(leak.file)
    return {key: len(names) for key, names in files.items()}


def refuse(leaks: Sequence[Leak]) -> None:
    """Stop where anything was found.

    Raises:
        UserError: There is a leak; it names file and tag or pattern of the first few different ones.
    """
    if not leaks:
        return
    known: dict[tuple[str, str], Leak] = {}
    for leak in leaks:
        known.setdefault((leak.where, leak.what), leak)
    first = list(known.values())
    told = "; ".join(f"{leak.file}: {leak.kind} ({leak.what}) in its {leak.where}" for leak in first[:LISTED])
    more = f" and {len(first) - LISTED} other tags or patterns" if len(first) > LISTED else ""
    files = len({leak.file for leak in leaks})
    raise UserError(f"{files:,} items hold patients' data: {told}{more}", "Remove it, or leave --strict-phi out.")
