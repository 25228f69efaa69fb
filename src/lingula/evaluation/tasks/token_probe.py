"""Probe on tokens: linear classifiers on several poolings of all tokens of a frozen volume encoder, the best by validation."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lingula.core.errors import UserError
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import EncodedTokens, ImageScores, PerFinding
from lingula.evaluation.cohort import targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import folder_of
from lingula.evaluation.encoder import Encoder
from lingula.evaluation.metrics import average_precision, nanmean
from lingula.evaluation.result import TaskResult
from lingula.evaluation.row_cache import RowCache
from lingula.evaluation.scored import thresholds_of
from lingula.evaluation.tasks.common import Partition, assemble, classification_result, gather_cohort
from lingula.evaluation.tasks.fractions import fraction_name, labelled_partitions
from lingula.evaluation.token_probe import score_heads, train_heads
from lingula.evaluation.volume_encoder import TokenEncoder

VOLUMES_AT_ONCE = 8
"""Volumes whose tokens are in memory at once: those of 192³ voxels in patches of 8³ take 48 MB each."""


@dataclass(frozen=True)
class Fit:
    """What one training gives.

    Args:
        scores: Of test, by the probe of the best validation.
        thresholds: Of validation.
        best: Its pooling and rate.
        quality: Macro AUPRC of every pooling and rate on validation; None where the training diverged.
    """

    scores: ImageScores
    thresholds: PerFinding
    best: str
    quality: dict[str, float | None]


def run(encoder: Encoder, store: StoreTable, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Train every pooling with every rate, for every fraction and draw, and score the one of the best macro AUPRC on validation.

    Thresholds come from validation. Tokens are computed once, and kept in 16 bits; patients are drawn as in the linear probe.

    Args:
        encoder: A model of CT volumes.
        store: The volumes.
        config: The task's numbers.
        cache: Folder of the token cache; None: they are kept for this call only.

    Raises:
        UserError: The model gives no tokens, volumes have different numbers of them, there are no labelled training rows, or
            nothing is left to score.
    """
    if not isinstance(store, VolumeStore) or not isinstance(encoder, TokenEncoder):
        raise UserError(f"the {encoder.name} model gives no tokens of store {store.name}", "Run --task probe on its features.")
    cohort = gather_cohort(store, config)
    settings, notes, quality = {}, [], {}
    encoder.check_tokens(store)
    with tempfile.TemporaryDirectory() as temporary:
        place = folder_of(cache or Path(temporary), "tokens", encoder, store)
        kept = RowCache(place, ("tokens",), len(store), np.float16, VOLUMES_AT_ONCE)
        label = f"tokens of volumes with {encoder.name}"
        (tokens,) = kept.with_rows(cohort.everything, lambda block: (encoder.embed_tokens(store, block),), label)
        for fraction in config.fraction:
            name, fits, best = fraction_name(fraction), [], set()
            for part in cohort.partitions:
                for _, drawn in labelled_partitions(store, part, cohort.findings, fraction, config):
                    fit = fit_partition(store, tokens, cohort.findings, config, drawn, name)
                    fits.append((part.test, fit.scores, fit.thresholds))
                    quality[f"{name}, fit {len(fits)}"] = fit.quality
                    best.add(fit.best)
            settings[name] = assemble(store, cohort, config, fits, temperature=1.0)
            notes.append(f"{name} of labels: {len(fits)} fits, the best on validation: {'; '.join(sorted(best))}.")
        shape = tokens.shape[1:]
        del tokens  # a file that is mapped cannot be deleted everywhere
    protocol = {
        "fractions": list(config.fraction),
        "draws": config.draws,
        "tokens": f"{shape[0]} of {shape[1]} features",
        "training": f"{config.token_probe.steps} steps of {config.token_probe.batch}, momentum {config.token_probe.momentum}",
        "macro AUPRC on validation": quality,
        "threshold": f"max {config.threshold.upper()} on validation",
    }
    return classification_result("token-probe", encoder, store, config, cohort, settings, protocol, notes)


def fit_partition(
    store: StoreTable, tokens: EncodedTokens, findings: list[str], config: EvaluateConfig, part: Partition, name: str
) -> Fit:
    """Train on train, choose pooling, rate and thresholds on val, score test.

    Raises:
        UserError: No finding has both classes on validation, or every training diverged.
    """
    train, val = (targets(store, rows, findings, config.against) for rows in (part.train, part.val))
    heads = train_heads(tokens, part.train, train, config.token_probe, config.seed, f"probes on tokens, {name} of labels")
    on_val = score_heads(heads, tokens, part.val)
    quality = {key: _macro(scores, val) for key, scores in on_val.items()}
    usable = [key for key, value in quality.items() if not np.isnan(value)]
    if not usable:
        lacking = all(len(np.unique(each[~np.isnan(each)])) < 2 for each in val.T)
        problem = "no finding has both classes on validation, where the pooling is chosen" if lacking else "every probe diverged"
        raise UserError(problem, "Loosen --where." if lacking else "Give smaller --token-probe.rates.")
    best = max(usable, key=quality.__getitem__)
    thresholds = thresholds_of(on_val[best], val, config.threshold)
    names = {(pooling, rate): f"{pooling}, rate {rate:g}" for pooling, rate in quality}
    told = {names[key]: None if np.isnan(value) else round(value, 4) for key, value in quality.items()}
    on_test = score_heads({best: heads[best]}, tokens, part.test)[best]
    return Fit(on_test, thresholds, names[best], told)


def _macro(scores: ImageScores, truth: ImageScores) -> float:
    """Return the mean average precision of the findings that have one; NaN where the training diverged."""
    if not np.isfinite(scores).all():
        return float("nan")
    each = np.array([average_precision(scores[:, j], truth[:, j]) for j in range(scores.shape[1])])
    return float(nanmean(each, axis=0))
