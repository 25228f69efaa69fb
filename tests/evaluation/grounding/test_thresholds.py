from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from lingula.evaluation.grounding.measures import RankedMap
from lingula.evaluation.grounding.thresholds import Threshold, choose_threshold


def giver(maps: list[RankedMap]) -> Callable[[], Iterator[RankedMap]]:
    return lambda: iter(maps)


def noisy(offset: float, area: int, seed: int) -> RankedMap:
    """A map whose region, a share of 100 pixels, lies 10 above the rest."""
    region = np.zeros((10, 10), bool)
    region.ravel()[:area] = True
    return RankedMap.of(offset + 10.0 * region + np.random.default_rng(seed).random((10, 10)), region)


def test_a_quantile_wins_where_maps_do_not_share_a_scale() -> None:
    maps = [noisy(100.0 * place, 10, place) for place in range(6)]
    choice = choose_threshold(giver(maps), ["a"] * 6)
    assert choice is not None
    assert choice.threshold == Threshold("quantile", 0.9)
    assert choice.measured["quantile"]["IoU"] == 1
    assert choice.measured["value"]["IoU"] < 0.8


def test_a_value_wins_where_regions_do_not_share_a_size() -> None:
    maps = [noisy(0.0, area, area) for area in (2, 10, 30, 60)]
    choice = choose_threshold(giver(maps), ["a"] * 4)
    assert choice is not None
    assert choice.threshold.kind == "value"
    assert 1 < choice.threshold.level <= 10
    assert choice.measured["value"]["IoU"] == 1
    assert choice.threshold.on(maps[0]) == choice.threshold.level
    assert Threshold("quantile", 0.5).on(maps[0]) == pytest.approx(np.median(maps[0].values))


def test_findings_weigh_alike_whatever_their_number() -> None:
    many, one = [noisy(50.0 * place, 10, place) for place in range(9)], [noisy(700.0, 50, 9)]
    together = choose_threshold(giver(many + one), ["a"] * 10)
    apart = choose_threshold(giver(many + one), ["a"] * 9 + ["b"])
    assert together is not None
    assert apart is not None
    means = [(9 * 1 + 10 / 50) / 10, (1 + 10 / 50) / 2]
    assert together.measured["quantile"]["IoU"] == pytest.approx(means[0])
    assert apart.measured["quantile"]["IoU"] >= means[1]


def test_nothing_to_choose_on_gives_no_threshold() -> None:
    assert choose_threshold(giver([]), []) is None
