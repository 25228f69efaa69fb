"""What NLST's tables say of one screening: findings that its reader saw, and lung cancer after it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

from lingula.data.sources.published_rows import number
from lingula.data.sources.tables import Row

PID, YEAR, CODE = "pid", "study_yr", "sct_ab_desc"
BASELINE = 1999
"""Year that the shifted dates give the first screening, T0; the second and third follow."""
YEARS = (0, 1, 2)
FINDINGS: dict[int, str] = {
    51: "Nodule or mass of at least 4 mm",
    52: "Micronodule",
    53: "Benign nodule",
    54: "Atelectasis",
    55: "Pleural thickening or effusion",
    56: "Hilar or mediastinal adenopathy or mass",
    57: "Chest wall abnormality",
    58: "Consolidation",
    59: "Emphysema",
    60: "Cardiovascular abnormality",
    61: "Reticular opacity or fibrosis",
    62: "Six or more nodules not suspicious",
}
"""sct_ab_desc to a name (ours, shorter)."""
OTHERS = (63, 64, 65)
"""Other abnormalities, which are no finding here."""
READ = (1, 2, 3, 4)
"""scr_isoN of a screening that was read: negative (three kinds) or positive; all others were not done or not legible."""
CANCER: dict[int, str] = {1: "Lung cancer within 1 year", 6: "Lung cancer within 6 years"}
"""Years after the scan to a name; six is what Sybil predicts."""
DAYS = 365.25
SEX = {"1": "M", "2": "F"}
PERSON = (
    PID,
    "gender",
    "age",
    "candx_days",
    "canc_free_days",
    *(f"scr_{what}{year}" for what in ("iso", "days") for year in YEARS),
)
"""Columns of the table of participants that are read."""
Labels = dict[str, Literal[1, 0] | None]


def study_year(date: str) -> int | None:
    """Return which screening a scan is of, 0 to 2, by its shifted date; None where it is none of these.

    >>> study_year("20000102"), study_year("20100102"), study_year("")
    (1, None, None)
    """
    year = int(date[:4]) - BASELINE if date else -1
    return year if year in YEARS else None


def abnormalities(rows: Iterable[Row], skip: Counter[str]) -> dict[tuple[str, int], set[str]]:
    """Return what the readers saw, by participant and screening.

    Args:
        rows: Of the table of abnormalities, one an abnormality.
        skip: Counts those of an unknown kind or screening.
    """
    found: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for row in rows:
        year, code = number(row[YEAR]), number(row[CODE])
        if year not in YEARS or code not in (*FINDINGS, *OTHERS):
            skip[f"abnormality whose {CODE} or {YEAR} is unknown"] += 1
        elif code in FINDINGS:
            found[row[PID], int(year)].add(FINDINGS[int(code)])
    return dict(found)


def reader_labels(person: Row, year: int, seen: Mapping[tuple[str, int], set[str]]) -> Labels:
    """Return the findings of one screening: absent where it was read and they are not listed; none where it was not read."""
    if number(person[f"scr_iso{year}"]) not in READ:
        return {}
    found = seen.get((person[PID], year), set())
    return {name: 1 if name in found else 0 for name in FINDINGS.values()}


def cancer_labels(person: Row, year: int) -> Labels:
    """Return whether lung cancer was found within some years of a scan; None where the participant was not followed so long.

    Days count from randomisation; a cancer before the scan, or a scan without its day, leaves all unknown.
    """
    scan, cancer, free = (number(person[name]) for name in (f"scr_days{year}", "candx_days", "canc_free_days"))
    if scan is None or (cancer is not None and cancer < scan):
        return dict.fromkeys(CANCER.values(), None)
    labels: Labels = {}
    for years, name in CANCER.items():
        end = scan + years * DAYS
        if cancer is not None:
            labels[name] = 1 if cancer <= end else 0
        else:
            labels[name] = 0 if free is not None and free >= end else None
    return labels
