"""One table of real image-text pairs: the chest radiographs of `cxr` and the captioned figures of `radiology_captions`.

    .venv/bin/python benchmarks/language/real_pairs.py ../shared/data stores/real.csv

Figures whose file is also among the radiographs are left out. Captioned figures have no labels and no patients; each is its own.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

COLUMNS = ("image", "text", "labels", "patient_id", "view", "sex", "age", "split", "source", "licence", "figure")


def main(data: Path, out: Path) -> None:
    """Write the table, and print what it holds."""
    rows, seen = [], set[str]()
    for folder, table in (("cxr", "cxr.csv"), ("radiology_captions", "captions.csv")):
        with (data / folder / table).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                row["image"] = f"{folder}/{row['image']}"
                row["figure"] = row.get("modality") or "chest radiograph"
                digest = hashlib.sha256((data / row["image"]).read_bytes()).hexdigest()
                if digest in seen:
                    continue
                seen.add(digest)
                rows.append({name: row.get(name, "") for name in COLUMNS})
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    pairs = sum(bool(row["text"]) for row in rows)
    print(f"{out}: {len(rows):,} images, {pairs:,} with text")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
