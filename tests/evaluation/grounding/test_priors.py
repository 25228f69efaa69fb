from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blobs import build_blobs

from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.grounding.priors import gaussian, learn_priors, moments, random_grid
from lingula.evaluation.grounding.queries import Queries, gather_queries

CONFIG = EvaluateConfig(store=Path("x"))


def test_moments_are_those_of_uniform_pixels() -> None:
    weights = np.zeros((12, 12))
    weights[2:8, 3:5] = 1
    middle, spread = moments(weights)
    np.testing.assert_allclose(middle, [5, 4])
    np.testing.assert_allclose(spread, [[36 / 12, 0], [0, 4 / 12]])  # variance of a uniform length: length² / 12


def test_a_slanted_region_has_a_slanted_gaussian() -> None:
    middle, spread = moments(np.eye(20))
    assert spread[0, 1] == pytest.approx(np.var(np.arange(20)))
    heat = gaussian(middle, spread, 20)
    assert heat[15, 15] > heat[15, 4]
    np.testing.assert_allclose(heat, heat.T, atol=1e-6)


def test_priors_are_means_of_training_regions() -> None:
    store = build_blobs()
    rows = store.rows("train")
    priors = learn_priors(store, gather_queries(store, rows, CONFIG))
    alphas = [store.mask(row, 0) for row in rows if store.regions(row)[0].finding == "Alpha"]
    np.testing.assert_allclose(priors.finding("Alpha"), np.mean(alphas, axis=0), rtol=1e-6)
    every = np.sum([store.mask(row, 0) for row in rows], axis=0)
    np.testing.assert_array_equal(priors.centre, gaussian(*moments(every), 16))
    assert priors.finding("Gamma") is priors.centre
    assert "24 training regions" in priors.described()


def test_without_training_regions_the_centre_is_fixed() -> None:
    priors = learn_priors(build_blobs(), Queries([], 0))
    assert not priors.findings
    assert "fixed" in priors.described()
    peak = np.unravel_index(priors.centre.argmax(), (16, 16))
    assert set(map(int, peak)) <= {7, 8}
    assert priors.centre[8, 12] == pytest.approx(np.exp(-(0.5**2 + 4.5**2) / 2 / 4**2), rel=1e-5)


def test_noise_depends_on_its_key_alone() -> None:
    first, again, other = (random_grid((3, 4), 0, key) for key in ("a", "a", "b"))
    assert first.shape == (1, 3, 4)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
