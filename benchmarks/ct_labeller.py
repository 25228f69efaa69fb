"""The labeller of chest CT reports against the labels of CT-CLIP's reports, on those that no rule was tuned on, and its speed.

Run it with `.venv/bin/python benchmarks/ct_labeller.py`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from labeller import RULES, interval

from lingula.core.errors import UserError
from lingula.data.text.ct_labeller import ct_mentions, label_ct_report, split_ct_sentences
from lingula.data.text.ct_lexicon import CT_FINDINGS
from lingula.data.text.ct_rate import CtReport, read_ct_reports


def measure(reports: list[CtReport], counted: tuple[int, ...]) -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
    """Return finding to the number of reports that have it, the scores and their intervals."""
    said = [label_ct_report(report.text) for report in reports]
    found = {}
    for finding in CT_FINDINGS:
        truth = np.array([report.labels[finding] == 1 for report in reports])
        present = np.array([labels[finding] in counted for labels in said])
        found[finding] = (int(truth.sum()), *interval(truth, present))
    return found


def show(reports: list[CtReport], finding: str) -> None:
    """Print the sentences that mention a finding where labels differ; all, where none does."""
    for report in reports:
        said = label_ct_report(report.text)[finding]
        if (said == 1) != report.labels[finding]:
            sentences = split_ct_sentences(report.text)
            mentioned = [sentence for sentence in sentences if any(name == finding for name, _ in ct_mentions(sentence))]
            print(f"{report.name} given {report.labels[finding]} labelled {said}: {' || '.join(mentioned or sentences)}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[2] / "shared/data/ct/reports"
    parser.add_argument("--folder", type=Path, default=default, help="folder of ctclip_text_classifier_{train,val}.csv")
    parser.add_argument("--tuning", action="store_true", help="score the reports for tuning instead")
    parser.add_argument("--show", help="print what was said where labels differ, for this finding (reports for tuning)")
    arguments = parser.parse_args()
    part = "train" if arguments.tuning or arguments.show else "val"
    try:
        reports = read_ct_reports(arguments.folder / f"ctclip_text_classifier_{part}.csv")
    except UserError as error:
        print(f"not measured: {error}")
        return
    if arguments.show:
        show(reports, arguments.show)
        return
    print(f"{len(reports):,} reports of {part}")
    for rule, counted in RULES.items():
        print(rule)
        print(f"{'':<36}{'given':>6}{'precision':>22}{'recall':>22}{'F1':>22}")
        measured = measure(reports, counted)
        for finding, (count, values, ends) in measured.items():
            cells = [f"{v:.3f} [{low:.2f}, {high:.2f}]" for v, low, high in zip(values, *ends, strict=True)]
            print(f"{finding:<36}{count:>6}" + "".join(f"{cell:>22}" for cell in cells))
        means = np.nanmean([values for _, values, _ in measured.values()], axis=0)
        print(f"{'mean of the eighteen':<42}" + "".join(f"{value:>22.3f}" for value in means))
    begun = time.process_time()
    for report in reports:
        label_ct_report(f"{report.text} ")
    print(f"{len(reports) / (time.process_time() - begun):,.0f} reports per second")


if __name__ == "__main__":
    main()
