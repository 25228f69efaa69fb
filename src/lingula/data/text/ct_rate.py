"""The labelled reports of CT-CLIP: real chest CT reports, each with the 18 findings of CT-RATE, to measure against.

Hamamci et al., "Developing generalist foundation models from a multimodal dataset for 3D computed tomography" (arXiv 2403.17834);
the tables are those its text classifier was trained and validated on.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from lingula.core.errors import UserError
from lingula.data.text.ct_lexicon import CT_FINDINGS


@dataclass(frozen=True)
class CtReport:
    """One report of the table.

    Args:
        name: Its accession number, e.g. `train_1`.
        text: Findings and impression as one text, as published.
        labels: Finding to 1 present or 0 absent.
    """

    name: str
    text: str
    labels: dict[str, int]


def read_ct_reports(path: Path) -> list[CtReport]:
    """Read one of CT-CLIP's tables of labelled reports, in its order.

    Raises:
        UserError: The table is missing, or has not the columns of one.
    """
    if not path.is_file():
        raise UserError(f"no such table: {path}", "Get text_classifier/data/*.csv of github.com/ibrahimethemhamamci/CT-CLIP.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = {"AccessionNo", "report_text", *CT_FINDINGS} - set(rows.fieldnames or ())
        if missing:
            raise UserError(f"{path} has no column {', '.join(sorted(missing))}", "Give a table of CT-CLIP's text classifier.")
        return [
            CtReport(row["AccessionNo"], row["report_text"], {finding: int(row[finding]) for finding in CT_FINDINGS})
            for row in rows
        ]
