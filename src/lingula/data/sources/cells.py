"""Typed values of parquet and JSON as the text cells that tables are made of, and columns by their obvious names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from lingula.core.errors import UserError, nearest
from lingula.data.sources.csv_config import NONE, CsvConfig

UNIT = "\x1f"
"""Between the findings of a list, as any other separator may be part of a name."""
SPELLINGS: dict[str, tuple[str, ...]] = {
    "text_column": ("text", "caption"),
    "report_column": ("report", "txt"),
    "labels_column": ("labels", "label", "cls"),
    "patient_id_column": ("patient_id", "patient", "subject_id"),
    "study_id_column": ("study_id",),
    "split_column": ("split",),
    "view_column": ("view", "view_position", "projection"),
    "licence_column": ("licence", "license"),
    "sex_column": ("sex", "gender", "patient_sex"),
    "age_column": ("age", "patient_age"),
}
"""What a column that was not named is called in files of others, most obvious first; case, blanks and `_` do not count. Ours."""
SHOWN = 30
"""How many columns an error lists."""


def text_of(value: Any, names: Sequence[str] = (), separator: str = "; ") -> str:
    """Return a value as a cell of text; what is missing (None, NaN, a class of -1) is blank.

    Args:
        value: Of a parquet column or a JSON field.
        names: Of classes that whole numbers stand for; none: they are numbers.
        separator: Between the values of a list.

    >>> text_of([0, 1], ["Edema", "Mass"]), text_of(54.0), text_of(float("nan")), text_of(True)
    ('Edema; Mass', '54', '', 'true')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return separator.join(text for text in (text_of(each, names) for each in value) if text)
    if isinstance(value, dict):
        return json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.strip().isdecimal() and names:
        value = int(value)
    if isinstance(value, int) and names:
        return names[value] if 0 <= value < len(names) else "" if value == -1 else str(value)
    return str(value).strip()


def obvious_columns(config: CsvConfig, columns: Iterable[str]) -> CsvConfig:
    """Return a column mapping in which every column that was not named is the one with the most obvious name.

    Args:
        config: The mapping asked for.
        columns: Those that there are.
    """
    exact, default = list(columns), CsvConfig()
    there = {_folded(name): name for name in reversed(exact)}
    changes: dict[str, Any] = {}
    for field, spellings in SPELLINGS.items():
        if (value := getattr(config, field)) == getattr(default, field) and value not in exact:
            found = next((there[_folded(word)] for word in spellings if _folded(word) in there), None)
            changes |= {field: found} if found else {}
    if config.section_columns == default.section_columns:
        changes["section_columns"] = tuple(there.get(name, name) for name in config.section_columns)
    return config.model_copy(update=changes)


def check_columns(config: CsvConfig, columns: Sequence[str], where: str) -> None:
    """Check that every column that was named is there.

    Args:
        config: The mapping asked for.
        columns: Those that there are.
        where: What lacks one, for the error.

    Raises:
        UserError: One is not; those that are there are listed.
    """
    default = CsvConfig()
    for field in type(config).model_fields:
        value = getattr(config, field)
        if value == getattr(default, field) or not field.endswith(("_column", "_columns")):
            continue
        for name in (value,) if isinstance(value, str) else value or ():
            if name not in (NONE, *columns):
                raise no_column(name, f"named by --{field.replace('_', '-')}", columns, where)


def no_column(name: str, why: str, columns: Sequence[str], where: str) -> UserError:
    """Return the error that a column is not there, which lists those that are."""
    listed = f"It has {', '.join(columns[:SHOWN])}{' …' if len(columns) > SHOWN else ''}."
    return UserError(f"{where} has no column '{name}' ({why})", " ".join(filter(None, (nearest(name, columns), listed))))


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")
