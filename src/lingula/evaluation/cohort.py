"""Which rows of a store a task scores, and what is known about them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

import numpy as np

from lingula.core.errors import UserError, nearest
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import ImageTargets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import radiographs

COLUMNS = ("row_id", "study_id", "patient_id", "split", "modality", "projection", "licence")
AGE_BANDS = ((0, "0-17"), (18, "18-39"), (40, "40-64"), (65, "65+"))


def is_phantom(store_name: str) -> bool:
    """Whether a store of this name holds synthetic patients."""
    return store_name.lower().startswith("phantom")


def select_rows(store: StoreTable, where: Sequence[str]) -> np.ndarray:
    """Return the rows that meet every filter COLUMN=PATTERN; patterns are those of file names (`*`, `?`), case counts.

    Raises:
        UserError: A column does not exist, or nothing is left.
    """
    keep = np.ones(len(store), bool)
    for text in where:
        name, pattern = (part.strip() for part in text.split("=", 1))
        keep &= np.array([fnmatch.fnmatchcase(value, pattern) for value in column_text(store, name)], bool)
    if not keep.any():
        filters = f" that meets {' and '.join(where)}" if where else ""
        raise UserError(f"no image in the store {store.name}{filters}", "Loosen it; lingula data describe shows the values.")
    return np.flatnonzero(keep)


def column_text(store: StoreTable, name: str) -> list[str]:
    """Return one column as text, "" where absent: one of the store's own or one of `extra`.

    Raises:
        UserError: There is no such column.
    """
    if name in COLUMNS:
        return ["" if value is None else str(value) for value in store.column(name)]
    extras = [dict(value or {}) for value in store.column("extra")]
    known = sorted({key for extra in extras for key in extra})
    if name not in known:
        choice = [*COLUMNS, *known]
        raise UserError(f"no column '{name}' to filter by", nearest(name, choice) or f"Columns: {', '.join(choice)}.")
    return [str(extra.get(name) or "") for extra in extras]


def targets(store: StoreTable, rows: np.ndarray, findings: Sequence[str], against: str | None) -> ImageTargets:
    """Return 1, 0 or NaN per row and finding.

    With `against`, the negatives are the rows that carry that label and not the finding; without, those labelled absent.
    """
    labels = store.labels(rows, findings)
    if against is None:
        return labels
    other = store.labels(rows, [against])[:, 0] == 1
    result: ImageTargets = np.where(labels == 1, 1.0, np.where(other[:, None], 0.0, np.nan)).astype(np.float32)
    return result


def choose_findings(store: StoreTable, rows: np.ndarray, config: EvaluateConfig) -> list[str]:
    """Return the findings to score: those asked for, else all of the store that have both classes in these rows.

    Raises:
        UserError: A name is unknown, or a finding asked for (or every finding) lacks a class.
    """
    asked = list(config.label) or [f for f in store.findings if f != config.against]
    values = targets(store, rows, asked, config.against)
    both = (values == 1).any(axis=0) & (values == 0).any(axis=0)
    missing = [finding for finding, ok in zip(asked, both, strict=True) if not ok]
    if config.label and missing:
        counts = {f: (int((values[:, asked.index(f)] == 1).sum()), int((values[:, asked.index(f)] == 0).sum())) for f in missing}
        text = ", ".join(f"{f} ({p} present, {n} absent)" for f, (p, n) in counts.items())
        hint = 'Name the negatives with --against "No Finding"' if config.against is None else "Choose other rows"
        raise UserError(f"only one class among the {len(rows)} rows to score: {text}", f"{hint}, or use --folds 5.")
    chosen = [finding for finding, ok in zip(asked, both, strict=True) if ok]
    if not chosen:
        remedy = 'Name the negatives with --against "No Finding", or choose a store with labels.'
        raise UserError(f"no finding has both classes among the {len(rows)} rows to score", remedy)
    return chosen


def subgroups(store: StoreTable, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return positions (into `rows`) of each subgroup by sex, age band and projection, where known and where it divides."""
    found: dict[str, dict[str, list[int]]] = {}
    extras = store.column("extra")
    projections = store.column("projection")
    for place, row in enumerate(rows):
        extra = {key.lower(): value for key, value in dict(extras[row] or {}).items()}
        known = {"sex": _sex(extra.get("sex")), "age": _age_band(extra.get("age")), "projection": str(projections[row] or "")}
        for variable, value in known.items():
            if value and value != "unknown":
                found.setdefault(variable, {}).setdefault(value, []).append(place)
    return {
        f"{variable}: {value}": np.array(places)
        for variable, groups in sorted(found.items())
        if len(groups) > 1
        for value, places in sorted(groups.items())
    }


def folds_by_patient(patients: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """Return each row's fold; all rows of a patient share one, and folds differ by at most one patient.

    Raises:
        UserError: There are fewer patients than folds.
    """
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < max(folds, 3):
        raise UserError(f"{len(names)} patients do not make {folds} folds", "Ask for fewer folds, or choose more rows.")
    order = np.random.default_rng(seed).permutation(len(names))
    fold = np.empty(len(names), int)
    fold[order] = np.arange(len(names)) % folds
    result: np.ndarray = fold[index]
    return result


def data_counts(store: StoreTable) -> dict[str, Any]:
    """Count images, patients and texts per split, labels per finding, and what was quarantined."""
    splits, patients = np.array(store.column("split")), np.array(store.column("patient_id"))
    with_text = np.zeros(len(store), bool)
    with_text[store.rows(with_text=True)] = True
    per_split = {}
    for split in ("train", "val", "test"):
        chosen = splits == split
        text = int(with_text[chosen].sum())
        per_split[split] = {
            "images": int(chosen.sum()),
            "patients": len(set(patients[chosen])),
            "with text": text,
            "without text": int(chosen.sum()) - text,
        }
    labels = store.labels(np.arange(len(store)), store.findings) if store.findings else np.zeros((len(store), 0))
    present, absent = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    return {
        "store": store.name,
        "fingerprint": store.fingerprint,
        "size": store.summary() if isinstance(store, VolumeStore) else int(radiographs(store).size),
        "phantom": is_phantom(store.name),
        "splits": per_split,
        "quarantined": int(store.quarantine.num_rows),
        "findings": {f: {"present": int(present[i]), "absent": int(absent[i])} for i, f in enumerate(store.findings)},
    }


def _sex(value: object) -> str:
    first = str(value or "").strip().upper()[:1]
    return first if first in ("F", "M") else ""


def _age_band(value: object) -> str:
    try:
        age = float(str(value).strip().rstrip("yY"))
    except ValueError:
        return ""
    return next((name for start, name in reversed(AGE_BANDS) if age >= start), "")
