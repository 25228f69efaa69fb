"""The short statements of a store's reports, as a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lingula.core.errors import UserError
from lingula.data.store_table import StoreTable
from lingula.data.text.statement_files import write_statements
from lingula.data.text.statements import Statements, report_statements


def store_statements(store: StoreTable) -> dict[str, Statements]:
    """Return study to the statements that the rules find in its report, for studies with text, in the store's order.

    Raises:
        UserError: No study has text.
    """
    sections = dict(zip(store.column("study_id"), store.column("sections"), strict=True))
    found = {study: report_statements(dict(said)) for study, said in sections.items() if any(map(str.strip, dict(said).values()))}
    if not found:
        raise UserError(f"store {store.path} has no text to cut into statements", "Prepare it with a column of reports.")
    return found


def write_store_statements(store: StoreTable, path: Path) -> Counter[str]:
    """Write the statements of a store as JSON lines (see `lingula.data.text.statement_files`).

    Returns:
        How many `studies`, how many of them `without a positive finding`, and how many `positive` and `negative` statements.

    Raises:
        UserError: No study has text.
    """
    statements = store_statements(store)
    write_statements(path, statements)
    counts = Counter({"studies": len(statements), "without a positive finding": 0, "positive": 0, "negative": 0})
    for said in statements.values():
        for sign in ("positive", "negative"):
            counts[sign] += sum(len(getattr(part, sign)) for part in said.values())
        counts["without a positive finding"] += not any(part.positive for part in said.values())
    return counts
