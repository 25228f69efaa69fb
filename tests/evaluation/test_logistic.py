from __future__ import annotations

import numpy as np
import pytest

from lingula.evaluation.logistic import fit_path


@pytest.mark.parametrize(("images", "features"), [(200, 8), (40, 60)])
def test_equals_sklearn_for_every_c_and_masks_unknown_labels(images: int, features: int) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(images, features))
    targets = (inputs[:, :3] + rng.normal(size=(images, 3)) > 0.5).astype(float)
    targets[: images // 4, 1] = np.nan
    grid = (1.0, 0.01, 0.1)
    for c, model in zip(grid, fit_path(inputs, targets, grid, tolerance=1e-8), strict=True):
        for finding in range(3):
            known = ~np.isnan(targets[:, finding])
            reference = LogisticRegression(C=c, tol=1e-7, max_iter=2000).fit(inputs[known], targets[known, finding])
            np.testing.assert_allclose(model.coefficients[:, finding], reference.coef_[0], atol=1e-4)
            assert model.intercepts[finding] == pytest.approx(reference.intercept_[0], abs=1e-4)


def test_one_class_gives_a_constant() -> None:
    inputs = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    targets = np.stack([np.ones(20), np.full(20, np.nan), np.arange(20) % 2], axis=1)
    (model,) = fit_path(inputs, targets, (0.1,))
    assert (model.scores(inputs)[:, :2] == 0).all()
    assert model.scores(inputs)[:, 2].std() > 0


def test_separable_data_stays_finite_in_single_precision() -> None:
    inputs = np.concatenate([np.full((30, 2), -5.0), np.full((30, 2), 5.0)]).astype(np.float32)
    (model,) = fit_path(inputs, np.repeat([[0.0], [1.0]], 30, axis=0), (100.0,))
    assert np.isfinite(model.coefficients).all()
    assert (model.scores(inputs)[30:] > 0).all()
    assert (model.scores(inputs)[:30] < 0).all()
