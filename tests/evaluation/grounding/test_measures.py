from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lingula.evaluation.grounding.measures import RankedMap

ROW = np.array([[0.0, 1.0, 2.0, 3.0]])


def ranked(heat: list[float] | np.ndarray, region: list[int] | np.ndarray) -> RankedMap:
    return RankedMap.of(np.atleast_2d(np.asarray(heat, float)), np.atleast_2d(np.asarray(region, bool)))


def test_pointing_asks_for_the_maximum() -> None:
    assert ranked([0, 1, 2, 3], [0, 0, 0, 1]).pointing() == 1
    assert ranked([0, 1, 2, 3], [1, 1, 1, 0]).pointing() == 0


def test_equal_maxima_count_by_their_share_inside() -> None:
    assert ranked([3, 1, 3, 3], [1, 1, 0, 0]).pointing() == pytest.approx(1 / 3)
    constant = ranked([1] * 8, [1, 1, 0, 0, 0, 0, 0, 0])
    assert constant.pointing() == constant.area == 0.25


def test_contrast_to_noise_in_closed_form() -> None:
    inside, outside = np.array([4.0, 6.0]), np.array([0.0, 1.0, 2.0])
    expected = (5 - 1) / np.sqrt(1 + 2 / 3)
    found = ranked(np.concatenate([inside, outside]), [1, 1, 0, 0, 0])
    assert found.contrast_to_noise() == pytest.approx(expected)
    turned = ranked(-np.concatenate([inside, outside]), [1, 1, 0, 0, 0])
    assert turned.contrast_to_noise() == pytest.approx(expected)  # BioViL's has no sign; the AUROC tells
    assert (found.auroc(), turned.auroc()) == (1, 0)


def test_contrast_of_maps_without_noise_or_outside() -> None:
    assert ranked([0.3] * 4, [1, 0, 0, 1]).contrast_to_noise() == 0
    assert np.isnan(ranked([1, 0, 0, 1], [1, 0, 0, 1]).contrast_to_noise())
    whole = ranked([1, 0, 0, 1], [1, 1, 1, 1])
    assert np.isnan(whole.contrast_to_noise())
    assert np.isnan(whole.auroc())
    assert whole.overlap(np.array([0.0, 1.0]))[0] == pytest.approx([1, 0.5])


def test_overlap_in_closed_form() -> None:
    iou, dice = ranked([0, 1, 2, 3], [0, 1, 1, 0]).overlap(np.array([-1.0, 2.0, 3.0, 9.0]))
    assert iou == pytest.approx([2 / 4, 1 / 3, 0, 0])
    assert dice == pytest.approx([4 / 6, 2 / 4, 0, 0])


@pytest.mark.parametrize("region", [np.zeros((1, 4), bool), np.ones((2, 2), bool)])
def test_an_empty_region_and_another_size_are_refused(region: np.ndarray) -> None:
    with pytest.raises(ValueError, match="region with pixels"):
        RankedMap.of(ROW, region)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40),
    st.floats(-4, 4),
    st.floats(0, 1),
)
def test_everything_equals_a_slow_reference(cells: list[tuple[int, bool]], threshold: float, level: float) -> None:
    heat, region = np.array([float(v) for v, _ in cells]), np.array([inside for _, inside in cells])
    region[0] = True
    found = ranked(heat, region)
    top = [place for place, value in enumerate(heat) if value == max(heat)]
    assert found.pointing() == pytest.approx(sum(region[place] for place in top) / len(top))
    chosen = [value >= threshold for value in heat]
    both = sum(a and b for a, b in zip(chosen, region, strict=True))
    either = sum(a or b for a, b in zip(chosen, region, strict=True))
    iou, dice = found.overlap(np.array([threshold]))
    assert iou[0] == pytest.approx(both / either)
    assert dice[0] == pytest.approx(2 * both / (sum(chosen) + region.sum()))
    assert found.quantiles(np.array([level]))[0] == pytest.approx(np.quantile(heat, level), abs=1e-9)
    if not region.all():
        assert found.auroc() == pytest.approx(roc_auc_score(region, heat))
        spread = np.sqrt(heat[region].var() + heat[~region].var())
        if spread > 0:
            assert found.contrast_to_noise() == pytest.approx(abs(heat[region].mean() - heat[~region].mean()) / spread, abs=1e-9)
