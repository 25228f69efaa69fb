from __future__ import annotations

import numpy as np
import pytest

from lingula.evaluation.surface_scores import NSD, ScoredSurfaces, surface_dice, surface_rows

SPACING = (2.0, 2.5, 3.0)


def slow(predicted: np.ndarray, truth: np.ndarray, tolerance: float) -> float:
    """Border voxels have one of their six neighbours outside; every pair of them is measured."""
    borders = []
    for mask in (predicted, truth):
        padded = np.pad(mask, 1)
        inner = np.ones(mask.shape, bool)
        for axis in range(3):
            for shift in (-1, 1):
                inner &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
        borders.append(np.argwhere(mask & ~inner) * np.array(SPACING))
    far = np.sqrt(((borders[0][:, None] - borders[1][None]) ** 2).sum(axis=2))
    near = (far.min(axis=1) <= tolerance).sum() + (far.min(axis=0) <= tolerance).sum()
    return float(near / sum(map(len, borders)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance", [1.0, 2.2, 4.0])
def test_it_is_what_all_pairs_of_border_voxels_give(seed: int, tolerance: float) -> None:
    generator = np.random.default_rng(seed)
    masks = []
    for _ in range(2):
        mask = np.zeros((12, 10, 9), bool)
        start = generator.integers(0, 5, 3)
        mask[tuple(slice(a, a + 4) for a in start)] = True
        masks.append(mask | (generator.random(mask.shape) < 0.01))
    assert surface_dice(masks[0], masks[1], SPACING, tolerance) == pytest.approx(slow(masks[0], masks[1], tolerance))


def test_an_empty_truth_has_none_and_a_missed_finding_has_nothing() -> None:
    some, none = np.ones((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    assert np.isnan(surface_dice(some, none, SPACING, 1.0))
    assert np.isnan(surface_dice(none, none, SPACING, 1.0))
    assert surface_dice(none, some, SPACING, 1.0) == 0
    assert surface_dice(some, some, SPACING, 1.0) == 1
    with pytest.raises(ValueError, match="one shape"):
        surface_dice(some, some[1:], SPACING, 1.0)


def test_rows_are_means_over_volumes_with_the_finding_and_fits() -> None:
    values = np.array([[[0.5, np.nan], [1.0, 0.25], [np.nan, np.nan]], [[0.7, np.nan], [0.8, 0.75], [np.nan, np.nan]]])
    scored = ScoredSurfaces(["a", "a", "b"], ["x", "y"], values)
    rows = {row.label: row for row in surface_rows(scored, 0, 0)}
    assert {row.metric for row in rows.values()} == {NSD}
    assert rows["x"].value == pytest.approx(0.75)
    assert rows["y"].value == pytest.approx(0.5)
    assert rows["macro"].value == pytest.approx(0.625)
    assert [rows[name].n for name in ("x", "y", "macro")] == [2, 1, 2]
    assert surface_rows(scored.take(np.array([1])), 0, 0)[0].value == pytest.approx(0.9)
    same = surface_rows(scored, 10, 0, other=scored)
    assert [row.value for row in same] == [0.0, 0.0, 0.0]
