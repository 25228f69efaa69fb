"""`lingula data statements`: cut reports into short statements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass
class CutStatements:
    """Cut the reports of a store into short positive and negative statements, by rules, one JSON object per study.

    The file is also the form in which statements made elsewhere, say by a language model, are given back.
    """

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store."""
    out: Path
    """JSON lines to write."""

    def run(self) -> None:
        """Write, and print the counts."""
        from lingula.data.open_store import open_store
        from lingula.data.store_statements import write_store_statements

        for name, count in write_store_statements(open_store(self.store), self.out).items():
            print(f"{name:<28}{count:>10,}")
        print(self.out)
