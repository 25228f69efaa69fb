"""Real reports for the language model: 3,955 radiograph reports (Indiana) and 1,000 CT reports (CT-CLIP), as JSONL by split.

    .venv/bin/python benchmarks/language/real_reports.py ../shared/data stores/reports

writes `train.jsonl`, `val.jsonl` and `test.jsonl`; one report per line, its sections as keys. The split is by a hash of the
report's number (70/10/20), so that no report is in two files.
"""

from __future__ import annotations

import csv
import json
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from lingula.core.files import write_text
from lingula.data.splits import SPLITS, split_of
from lingula.data.text.normalise import normalise_text

FRACTIONS = (0.7, 0.1, 0.2)
CT_LABELS = 18


def radiograph_reports(archive: Path) -> Iterator[dict[str, str]]:
    """Yield findings and impression, as the XML's own tags say, of every Indiana report that has any."""
    with tarfile.open(archive) as files:
        for member in files:
            file = files.extractfile(member) if member.name.endswith(".xml") else None
            if file is None:
                continue
            tree = ElementTree.parse(file)
            report = {"id": f"indiana-{Path(member.name).stem}"}
            for part in tree.iter("AbstractText"):
                name = (part.get("Label") or "").lower()
                if name in ("findings", "impression") and (text := normalise_text(part.text or "")):
                    report[name] = text
            if len(report) > 1:
                yield report


def ct_reports(folder: Path) -> Iterator[dict[str, str | list[int]]]:
    """Yield text and the 18 labels of every CT-CLIP report."""
    for name in ("train", "val"):
        with (folder / f"ctclip_text_classifier_{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                labels = [int(float(value)) for value in list(row.values())[-CT_LABELS:]]
                yield {"id": f"ct-{row['AccessionNo']}", "text": normalise_text(row["report_text"]), "labels": labels}


def main(data: Path, out: Path) -> None:
    """Write the three files, and print how many reports each holds."""
    reports = [*radiograph_reports(data / "cxr/reports/NLMCXR_reports.tgz"), *ct_reports(data / "ct/reports")]
    for split in SPLITS:
        chosen = [report for report in reports if split_of(str(report["id"]), FRACTIONS) == split]
        write_text(out / f"{split}.jsonl", "".join(json.dumps(report, ensure_ascii=False) + "\n" for report in chosen))
        pairs = sum("findings" in report and "impression" in report for report in chosen)
        print(f"{split}: {len(chosen):,} reports, {pairs:,} with findings and impression")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
