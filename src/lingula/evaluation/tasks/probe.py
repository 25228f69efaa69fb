"""Linear probe: logistic regression on frozen, standardised features, at several fractions of the training patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lingula.data.store_table import StoreTable
from lingula.evaluation.arrays import ImageScores, PerFinding
from lingula.evaluation.cohort import targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import ImageEmbeddings, embed
from lingula.evaluation.encoder import Encoder
from lingula.evaluation.logistic import fit_path
from lingula.evaluation.metrics import auroc
from lingula.evaluation.result import TaskResult
from lingula.evaluation.scored import thresholds_of
from lingula.evaluation.tasks.common import Partition, assemble, classification_result, gather_cohort
from lingula.evaluation.tasks.fractions import fraction_name, labelled_partitions


def run(encoder: Encoder, store: StoreTable, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Fit one classifier per finding on frozen features, for every fraction of labels and every draw.

    C is chosen per finding by validation AUROC; patients are drawn by seed, the same ones for every encoder. A metric is
    the mean over draws (and folds).

    Args:
        encoder: Any model.
        store: The images.
        config: The task's numbers.
        cache: Folder of the embedding cache.

    Raises:
        UserError: There are no labelled training rows, or nothing is left to score.
    """
    cohort = gather_cohort(store, config)
    images = embed(encoder, store, cohort.everything, cache)
    settings, notes = {}, []
    for fraction in config.fraction:
        fits, unlearned, unchosen, sizes = [], 0, 0, []
        for part in cohort.partitions:
            for _, drawn in labelled_partitions(store, part, cohort.findings, fraction, config):
                sizes.append(len(drawn.train))
                scores, thresholds, lacking, fallback = fit_partition(store, images, cohort.findings, config, drawn)
                fits.append((part.test, scores, thresholds))
                unlearned, unchosen = unlearned + lacking, unchosen + fallback
        name = fraction_name(fraction)
        settings[name] = assemble(store, cohort, config, fits, temperature=1.0)
        span = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        notes.append(f"{name} of labels: trained {len(fits)}× on {span} images, mean of the fits.")
        if unlearned:
            notes.append(f"{name} of labels: {unlearned} fits saw one class only and predict a constant (AUROC 0.5).")
        if unchosen:
            notes.append(f"{name} of labels: {unchosen} fits had one class only on validation; C is the middle of the list.")
    protocol = {
        "fractions": list(config.fraction),
        "draws": config.draws,
        "regularisation": list(config.regularisation),
        "features": int(images.features.shape[1]),
        "threshold": f"max {config.threshold.upper()} on validation",
    }
    return classification_result("probe", encoder, store, config, cohort, settings, protocol, notes)


def fit_partition(
    store: StoreTable, images: ImageEmbeddings, findings: list[str], config: EvaluateConfig, part: Partition
) -> tuple[ImageScores, PerFinding, int, int]:
    """Fit on train, choose C and thresholds on val, score test; also count one-class trainings and validations."""
    features = {name: images.at(rows).features for name, rows in vars(part).items()}
    centre, spread = features["train"].mean(axis=0), features["train"].std(axis=0)
    spread = np.where(spread > 1e-6 * max(float(spread.max()), 1e-12), spread, np.inf)
    standard = {name: ((values - centre) / spread).astype(np.float32) for name, values in features.items()}
    train, val = (targets(store, rows, findings, config.against) for rows in (part.train, part.val))
    models = fit_path(standard["train"], train, config.regularisation)
    on_val = np.stack([model.scores(standard["val"]) for model in models])
    quality = np.array([[auroc(scores[:, j], val[:, j]) for j in range(len(findings))] for scores in on_val])
    lacking = np.isnan(quality).all(axis=0)
    best = np.where(lacking, len(models) // 2, np.argmax(np.where(np.isnan(quality), -1, quality), axis=0))
    columns = np.arange(len(findings))
    on_test = np.stack([model.scores(standard["test"]) for model in models])[best, :, columns].T
    thresholds = thresholds_of(on_val[best, :, columns].T, val, config.threshold)
    one_class = int(((train == 1).any(axis=0) != (train == 0).any(axis=0)).sum() + (np.isnan(train).all(axis=0)).sum())
    return on_test, thresholds, one_class, int(lacking.sum())
