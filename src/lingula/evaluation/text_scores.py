"""How close generated reports come to the true ones: words (BLEU, ROUGE-L) and findings (clinical F1).

- "BLEU-n" is the corpus's: brevity penalty times the geometric mean of the precisions of 1- to n-grams, summed over reports
  (Papineni et al. 2002), lower case, mteval-13a words as in sacrebleu, not smoothed, 0 to 1; 0 where no n-gram is right.
- "ROUGE-L" is the mean over reports of the F1 of the longest common subsequence of words (Lin 2004; rouge-score, no stemming).
- "clinical F1" compares the findings that a rule-based labeller reads as *present*, the same for both texts; uncertain, absent
  and not mentioned are alike not present. "micro" sums over reports and findings; "macro" is the mean over the findings that at
  least one true report has. The labeller errs, too: its own F1 on real reports is in docs/results.

METEOR is left out: no library that we keep has it without a download of WordNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from lingula.data.text.labeller import Label
from lingula.evaluation.arrays import Numbers, PerQuery, PerResample, Weights
from lingula.evaluation.metrics import nanmean, weighted_mean
from lingula.evaluation.scored import MACRO, MICRO

ORDERS = (1, 2, 3, 4)
Labeller: TypeAlias = Callable[[str], Mapping[str, Label]]
NgramCounts: TypeAlias = Float[np.ndarray, "reports numbers"]
"""Right 1- to 4-grams, all 1- to 4-grams of the generated report, its words, and those of the true report."""
Present: TypeAlias = Bool[np.ndarray, "reports findings"]


@dataclass(frozen=True)
class ScoredReports:
    """Generated reports beside the true ones, and all that metrics are made of.

    Args:
        patients: The patient of each report.
        candidates: What was generated.
        references: What is true.
        findings: What the labeller reads.
        ngrams: Sufficient numbers for BLEU.
        rouge: ROUGE-L of each report.
        said: Findings present in the generated reports.
        true: Findings present in the true reports.
        others: Scores of each report by scorers outside.
    """

    patients: list[str]
    candidates: list[str]
    references: list[str]
    findings: list[str]
    ngrams: NgramCounts
    rouge: PerQuery
    said: Present
    true: Present
    others: Mapping[str, PerQuery] = field(default_factory=dict)

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Metric and label of each number of `measure`."""
        words = [(f"BLEU-{n}", "") for n in ORDERS] + [("ROUGE-L", "")] + [(name, "") for name in self.others]
        return words + [("clinical F1", label) for label in (MICRO, MACRO, *self.findings)]

    def measure(self, weights: Weights) -> Numbers:
        """Compute every metric under every weighting of the reports, `resamples numbers`, in the order of `keys`."""
        columns = [bleu(weights @ self.ngrams, n) for n in ORDERS]
        columns += [weighted_mean(values, weights) for values in (self.rouge, *self.others.values())]
        hits, said, true = (weights @ each.astype(float) for each in (self.said & self.true, self.said, self.true))
        each = _f1(hits, said, true)
        each[:, ~self.true.any(axis=0)] = np.nan
        columns += [_f1(hits.sum(axis=1), said.sum(axis=1), true.sum(axis=1)), nanmean(each, axis=1), *each.T]
        return np.stack(columns, axis=1)

    def counts(self) -> list[tuple[int, int | None]]:
        """Return reports, and true reports with the finding, behind each number of `keys`."""
        total, present = len(self.patients), dict(zip(self.findings, self.true.sum(axis=0).tolist(), strict=True))
        return [(total, present.get(label) if metric == "clinical F1" else None) for metric, label in self.keys]


def score_reports(
    candidates: Sequence[str],
    references: Sequence[str],
    patients: Sequence[str],
    labeller: Labeller,
    findings: Sequence[str],
    others: Mapping[str, PerQuery] | None = None,
) -> ScoredReports:
    """Read everything that the metrics are made of from generated and true reports.

    Args:
        candidates: What was generated; may be empty texts.
        references: What is true, one for each.
        patients: The patient of each.
        labeller: Text to finding to label.
        findings: Which of its findings count.
        others: Scores of each report by scorers outside.
    """
    return ScoredReports(
        patients=list(patients),
        candidates=list(candidates),
        references=list(references),
        findings=list(findings),
        ngrams=ngram_counts(candidates, references),
        rouge=rouge_l(candidates, references),
        said=_present(candidates, labeller, findings),
        true=_present(references, labeller, findings),
        others=dict(others or {}),
    )


def ngram_counts(candidates: Sequence[str], references: Sequence[str]) -> NgramCounts:
    """Count n-grams of each report against its own reference, `reports 10`: right, all, words of both."""
    from sacrebleu.metrics import BLEU

    metric = BLEU(lowercase=True, smooth_method="none", force=True)
    rows = []
    for candidate, reference in zip(candidates, references, strict=True):
        found = metric.corpus_score([candidate], [[reference]])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return np.array(rows, float).reshape(-1, 2 * len(ORDERS) + 2)


def bleu(totals: NgramCounts, order: int) -> PerResample:
    """Compute BLEU-n of corpora from the sums of their `ngram_counts`, `corpora 10`."""
    most = len(ORDERS)
    right, every, said, true = totals[:, :order], totals[:, most : most + order], totals[:, -2], totals[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.exp(np.log(right / every).mean(axis=1))
        brevity = np.where(said < true, np.exp(1 - true / said), 1.0)
    value: PerResample = np.where((right > 0).all(axis=1), precision * brevity, np.where(true > 0, 0.0, np.nan))
    return value


def rouge_l(candidates: Sequence[str], references: Sequence[str]) -> PerQuery:
    """Compute ROUGE-L, F1, of each report."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    pairs = zip(references, candidates, strict=True)
    return np.array([scorer.score(reference, candidate)["rougeL"].fmeasure for reference, candidate in pairs], float)


def _present(texts: Sequence[str], labeller: Labeller, findings: Sequence[str]) -> Present:
    labels = [labeller(text) for text in texts]
    return np.array([[each.get(finding) == 1 for finding in findings] for each in labels], bool).reshape(-1, len(findings))


def _f1(hits: Numbers, said: Numbers, true: Numbers) -> Numbers:
    """2 hits / (said + true); undefined where nothing is said and nothing true."""
    both = said + true
    result: Numbers = np.divide(2 * hits, both, out=np.full(np.shape(both), np.nan), where=both > 0)
    return result
