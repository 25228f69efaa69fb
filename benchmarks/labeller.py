"""The labeller against the manual MeSH codes of the Indiana reports, on the half that no rule was tuned on, and its speed.

Run it with `.venv/bin/python benchmarks/labeller.py`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from lingula.core.errors import UserError
from lingula.data.text import labeller
from lingula.data.text.indiana import IndianaReport, read_indiana
from lingula.data.text.indiana_labels import coded_labels, is_tuning
from lingula.data.text.labeller import label_report, label_sections
from lingula.data.text.lexicon import FINDINGS

RESAMPLES = 1000


def scores(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return precision, recall and F1, NaN where undefined."""
    right, claimed, there = float((truth & said).sum()), float(said.sum()), float(truth.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array([np.divide(right, claimed), np.divide(right, there), np.divide(2 * right, claimed + there)])


def interval(truth: np.ndarray, said: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and their 95 % bootstrap interval over reports, `2 3`."""
    generator = np.random.default_rng(seed)
    drawn = [scores(truth[rows], said[rows]) for rows in generator.integers(0, len(truth), (RESAMPLES, len(truth)))]
    return scores(truth, said), np.nanpercentile(np.stack(drawn), [2.5, 97.5], axis=0)


RULES: dict[str, tuple[int, ...]] = {
    "uncertain counts as absent": (1,),
    "uncertain counts as present": (1, -1),
    "for comparison: every mention counts as present, denied or not": (1, -1, 0),
}
"""What is compared, to the labels that count as present."""


def measure(reports: list[IndianaReport], counted: tuple[int, ...]) -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
    """Return finding to the number of coded reports, the scores and their intervals."""
    coded = [(labels, label_sections(report.sections)) for report in reports if (labels := coded_labels(report)) is not None]
    found = {}
    for finding in FINDINGS:
        pairs = [(labels[finding], said[finding]) for labels, said in coded if labels[finding] is not None]
        truth = np.array([label == 1 for label, _ in pairs])
        present = np.array([value in counted for _, value in pairs])
        found[finding] = (int(truth.sum()), *interval(truth, present))
    return found


def reports_per_second(reports: list[IndianaReport], repeats: int = 3) -> float:
    """Return the speed on reports as exported, every sentence new to the cache."""
    texts = [" ".join(f"{name.upper()}: {text}" for name, text in report.sections.items()) for report in reports]
    begun = time.process_time()
    for number in range(repeats):
        labeller.sentence_mentions.remembered.cache_clear()
        for text in texts:
            label_report(f"{text}{' ' * number}")
    return repeats * len(texts) / (time.process_time() - begun)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[2] / "shared/data/cxr/reports/NLMCXR_reports.tgz"
    parser.add_argument("--archive", type=Path, default=default)
    parser.add_argument("--tuning", action="store_true", help="score the half for tuning instead")
    parser.add_argument("--show", help="print sentences of reports labelled otherwise than coded, for this finding (tuning half)")
    arguments = parser.parse_args()
    try:
        reports = read_indiana(arguments.archive)
    except UserError as error:
        print(f"not measured: {error}")
        return
    half = [report for report in reports if is_tuning(report) == bool(arguments.tuning or arguments.show)]
    if arguments.show:
        show(half, arguments.show)
        return
    print(f"{len(half):,} reports of the {'tuning' if arguments.tuning else 'held-out'} half")
    for rule, counted in RULES.items():
        print(rule)
        print(f"{'':<28}{'coded':>6}{'precision':>22}{'recall':>22}{'F1':>22}")
        measured = measure(half, counted)
        for finding, (count, values, ends) in measured.items():
            cells = [f"{v:.3f} [{low:.2f}, {high:.2f}]" for v, low, high in zip(values, *ends, strict=True)]
            print(f"{finding:<28}{count:>6}" + "".join(f"{cell:>22}" for cell in cells))
        means = np.nanmean([values for _, values, _ in measured.values()], axis=0)
        print(f"{'mean of the fourteen':<34}" + "".join(f"{value:>22.3f}" for value in means))
    print(f"{reports_per_second(reports):,.0f} reports per second, no sentence remembered")


def show(reports: list[IndianaReport], finding: str) -> None:
    """Print what was said where labels and codes differ."""
    for report in reports:
        coded = coded_labels(report)
        said = label_sections(report.sections)[finding]
        if coded is not None and coded[finding] is not None and (said == 1) != coded[finding]:
            texts = [report.sections.get(name, "") for name in ("findings", "impression")]
            print(f"{report.name} coded {coded[finding]} labelled {said}: {' || '.join(texts)}\n    {report.codes}")


if __name__ == "__main__":
    main()
