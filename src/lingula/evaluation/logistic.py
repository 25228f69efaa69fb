"""L2-regularised logistic regression for many findings at once, by a truncated Newton method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lingula.evaluation.arrays import EncodedFeatures, ImageScores, Numbers, PerFinding

NEWTON_STEPS = 50
INNER_STEPS = 60


@dataclass(frozen=True)
class LogisticModel:
    """Linear classifiers of several findings.

    Args:
        coefficients: `features findings`.
        intercepts: `findings`.
    """

    coefficients: Numbers
    intercepts: PerFinding

    def scores(self, features: EncodedFeatures) -> ImageScores:
        """Return log-odds."""
        result: ImageScores = features @ self.coefficients + self.intercepts
        return result


def fit_path(
    features: EncodedFeatures, targets: ImageScores, regularisation: tuple[float, ...], tolerance: float = 1e-3
) -> list[LogisticModel]:
    """Fit each finding for several values of C, warm-started from the strongest penalty to the weakest.

    Minimises ½‖w‖² + C Σ log(1 + exp(−y(x·w + b))) over the images whose target is known; the intercept is not penalised.
    Where there are fewer images than features the problem is solved, exactly, in the space that the images span. A finding
    with one class only gets zero coefficients.

    Args:
        features: Standardised features.
        targets: 1, 0, or NaN where unknown.
        regularisation: Values of C, in any order; models come back in that order.
        tolerance: The gradient's norm has to fall below this share of the norm at w = 0.
    """
    basis = None
    inputs = features
    if len(features) < features.shape[1]:
        left, singular, right = np.linalg.svd(features, full_matrices=False)
        inputs, basis = left * singular, right.T
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1), inputs.dtype)], axis=1)
    known = ~np.isnan(targets)
    positive = known & (targets == 1)
    usable = positive.any(axis=0) & (known & ~positive).any(axis=0)
    weights = np.zeros((inputs.shape[1], targets.shape[1]), inputs.dtype)
    models = {}
    for c in sorted(set(regularisation)):
        weights[:, usable] = _newton(inputs, positive[:, usable], known[:, usable], 1.0 / c, weights[:, usable], tolerance)
        coefficients = weights[:-1] if basis is None else basis @ weights[:-1]
        models[c] = LogisticModel(coefficients.copy(), weights[-1].copy())
    return [models[c] for c in regularisation]


def _newton(
    inputs: np.ndarray,
    positive: np.ndarray,
    known: np.ndarray,
    penalty: float,
    weights: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Newton steps with conjugate gradients inside and a backtracking line search, each finding on its own step length."""
    decay = np.full((inputs.shape[1], 1), penalty, inputs.dtype)
    decay[-1] = 0.0
    sign = np.where(positive, 1.0, -1.0).astype(inputs.dtype)
    mask = known.astype(inputs.dtype)
    scale = np.linalg.norm(inputs.T @ (mask * sign) / 2, axis=0) + 1e-12
    logits = inputs @ weights
    for _ in range(NEWTON_STEPS):
        chance = _sigmoid(sign * logits)
        gradient = inputs.T @ (-mask * sign * (1 - chance)) + decay * weights
        size = np.linalg.norm(gradient, axis=0)
        if (size <= tolerance * scale).all():
            break
        share = np.minimum(0.3, np.sqrt(size / scale))
        step = _conjugate_gradients(inputs, mask * chance * (1 - chance), decay, -gradient, share)
        moved = inputs @ step
        length = _line_search(logits, moved, sign, mask, weights, step, decay, (gradient * step).sum(axis=0))
        if not length.any():
            break
        weights, logits = weights + length * step, logits + length * moved
    return weights


def _conjugate_gradients(
    inputs: np.ndarray, curvature: np.ndarray, decay: np.ndarray, target: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Solve (XᵀDX + penalty) s = target per finding until the residual is below `share` of the target."""
    solution, residual = np.zeros_like(target), target.copy()
    direction = residual.copy()
    energy = (residual**2).sum(axis=0)
    stop = share**2 * energy
    for _ in range(INNER_STEPS):
        active = energy > stop
        if not active.any():
            break
        image = inputs.T @ (curvature * (inputs @ direction)) + decay * direction
        bend = (direction * image).sum(axis=0)
        rate = np.where(active & (bend > 0), energy / np.where(bend > 0, bend, 1), 0).astype(inputs.dtype)
        solution += rate * direction
        residual -= rate * image
        fresh = np.where(active, (residual**2).sum(axis=0), energy)
        ratio = np.where(active & (energy > 0), fresh / np.where(energy > 0, energy, 1), 0).astype(inputs.dtype)
        direction = np.where(active, residual + ratio * direction, direction)
        energy = np.where(rate > 0, fresh, 0)
    return solution


def _line_search(
    logits: np.ndarray,
    moved: np.ndarray,
    sign: np.ndarray,
    mask: np.ndarray,
    weights: np.ndarray,
    step: np.ndarray,
    decay: np.ndarray,
    slope: np.ndarray,
) -> np.ndarray:
    """Halve each finding's step until its loss falls enough (Armijo); 0 where it never does."""

    def loss(length: np.ndarray) -> np.ndarray:
        data = (mask * np.logaddexp(0, -sign * (logits + length * moved))).sum(axis=0, dtype=np.float64)
        ridge = (decay * (weights + length * step) ** 2).sum(axis=0, dtype=np.float64) / 2
        total: np.ndarray = data + ridge
        return total

    length = np.ones(logits.shape[1], logits.dtype)
    before = loss(np.zeros_like(length))
    for _ in range(12):
        enough = loss(length) <= before + 1e-4 * length * slope
        if enough.all():
            return length
        length = np.where(enough, length, length / 2).astype(logits.dtype)
    result: np.ndarray = np.where(loss(length) < before, length, 0).astype(logits.dtype)
    return result


def _sigmoid(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = (0.5 * (1 + np.tanh(0.5 * values))).astype(values.dtype)
    return result
