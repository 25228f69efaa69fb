"""The phantom must not be easy: thumbnails do not suffice, and several findings are small."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from lingula.data.phantom.findings import FINDINGS
from lingula.data.phantom.grid import beam_grid
from lingula.data.phantom.patient import sample_patient
from lingula.data.phantom.render import integrals, paint, place
from lingula.data.phantom.source import PhantomSource
from lingula.data.study import Study

LIMIT = 0.70


def _thumbnail(task: tuple[PhantomSource, Study]) -> np.ndarray:
    source, study = task
    pixels = source.read(study, 0).pixels.astype(np.float64)
    return pixels.reshape(16, 6, 16, 6).mean(axis=(1, 3)).ravel()


def thumbnail_auroc(train: int, test: int) -> float:
    """Return the best macro AUROC of logistic regression on 16 x 16 thumbnails, over three strengths of regularisation."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    source = PhantomSource(train, 0, test, seed=0)
    studies = list(source)
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        pictures = np.array(list(pool.map(_thumbnail, [(source, study) for study in studies], chunksize=50)))
    labels = np.array([[study.labels[finding] for finding in FINDINGS] for study in studies])
    pictures = StandardScaler().fit(pictures[:train]).transform(pictures)
    best = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in (1e-3, 1e-2, 1e-1):
            scores = []
            for column in range(len(FINDINGS)):
                model = LogisticRegression(C=strength, max_iter=200).fit(pictures[:train], labels[:train, column])
                scores.append(roc_auc_score(labels[train:, column], model.decision_function(pictures[train:])))
            best = max(best, float(np.mean(scores)))
    return best


def test_thumbnails_do_not_suffice() -> None:
    assert thumbnail_auroc(600, 400) <= LIMIT


@pytest.mark.soak
def test_thumbnails_do_not_suffice_with_more_data() -> None:
    assert thumbnail_auroc(3000, 1200) <= LIMIT


def test_four_findings_cover_under_five_percent_of_the_lungs() -> None:
    shares: dict[str, list[float]] = {}
    for number in range(50):
        patient = sample_patient(8, "test", number, 0)
        placement = place(patient, "PA", 64, np.random.default_rng(number))
        grid, _ = beam_grid(placement.beam, placement.near, placement.far, 32, 6.0)
        lung = np.count_nonzero(paint(patient.healthy(), grid).lung.sum(axis=-1) > 1)
        area: dict[str, np.ndarray] = {}
        for (index, _), mask in integrals(patient, placement)[1].items():
            name = patient.facts[index].finding
            area[name] = area.get(name, np.zeros_like(mask)) | mask
        for name, mask in area.items():
            shares.setdefault(name, []).append(np.count_nonzero(mask) / lung)
    small = [name for name, values in shares.items() if len(values) >= 3 and np.median(values) < 0.05]
    assert len(small) >= 4
