"""What the section parser and the sentence splitter make of the 3,955 Indiana reports, and how fast.

Every report is written out in several layouts; the sections of its XML file are the truth.
Run it with `.venv/bin/python benchmarks/report_text.py`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from pathlib import Path

from lingula.core.errors import UserError
from lingula.data.text.duplicates import count_duplicates
from lingula.data.text.indiana import IndianaReport, read_indiana
from lingula.data.text.labeller import sentence_mentions
from lingula.data.text.layouts import LAYOUTS
from lingula.data.text.normalise import normalise_text
from lingula.data.text.sections import parse_sections
from lingula.data.text.sentences import split_sentences

SAID = {"present": 1, "denied": 0, "uncertain": -1}
BOTH = ("findings", "impression")


def parsed_right(layout: str, report: IndianaReport) -> bool:
    """Whether findings and impression come back as the XML file has them, and neither where it has none."""
    found = parse_sections(LAYOUTS[layout](report.sections, random.Random(report.name)))
    upper = layout.startswith("all capitals")
    truth = {name: text.upper() if upper else text for name, text in report.sections.items()}
    return all(normalise_text(found.get(name, "")) == truth.get(name, "") for name in BOTH)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[2] / "shared/data/cxr/reports/NLMCXR_reports.tgz"
    parser.add_argument("--archive", type=Path, default=default)
    parser.add_argument("--failures", type=int, default=0, help="print so many failures per layout")
    arguments = parser.parse_args()
    try:
        reports = [report for report in read_indiana(arguments.archive) if set(BOTH) & set(report.sections)]
    except UserError as error:
        print(f"not measured: {error}")
        return
    full = [report for report in reports if set(BOTH) <= set(report.sections)]
    partial = [report for report in reports if report not in full]
    print(f"{len(reports):,} reports with text, {len(full):,} with both sections, {len(partial):,} with one")
    print(f"{'layout':<40}{'both, of ' + str(len(full)):>16}{'one, of ' + str(len(partial)):>16}{'reports/s':>11}")
    for layout in LAYOUTS:
        right = {report.name for report in reports if parsed_right(layout, report)}
        texts = [LAYOUTS[layout](report.sections, random.Random(report.name)) for report in reports]
        begun = time.process_time()
        for text in texts:
            parse_sections(text)
        speed = len(texts) / (time.process_time() - begun)
        shares = [sum(report.name in right for report in group) / len(group) for group in (full, partial)]
        print(f"{layout:<40}{shares[0]:>16.2%}{shares[1]:>16.2%}{speed:>11,.0f}")
        for report in [report for report in reports if report.name not in right][: arguments.failures]:
            print(f"    {report.name}: {parse_sections(LAYOUTS[layout](report.sections, random.Random(report.name)))}")
    begun = time.process_time()
    sentences = [
        split_sentences(" ".join(report.sections[name] for name in BOTH if name in report.sections)) for report in reports
    ]
    print(f"sentences: {sum(map(len, sentences)):,}, {len(reports) / (time.process_time() - begun):,.0f} reports/s")
    flat = [sentence for each in sentences for sentence in each]
    print(f"  begin with a small letter {sum(sentence[0].islower() for sentence in flat)}, ", end="")
    print(f"without a stop {sum(sentence[-1] not in '.!?' for sentence in flat)}, ", end="")
    print(f"over 60 words {sum(len(sentence.split()) > 60 for sentence in flat)}")
    print(count_duplicates(" ".join(each) for each in sentences))
    said = Counter(value for sentence in flat for _, value in sentence_mentions(sentence))
    print("findings named: " + ", ".join(f"{name} {said[value]:,}" for name, value in SAID.items()))


if __name__ == "__main__":
    main()
