"""The columns of the table of pseudo masks, on maps whose numbers are known, and the way from a run to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lingula.data.phantom.source import PhantomSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.training.pretrain import pretrain
from lingula.training.recipes import recipe


@pytest.fixture(scope="module")
def masks(load_experiment: Callable[[str], Any]) -> Any:
    return load_experiment("g2d_masks")


def test_entropy_is_one_where_all_cells_are_alike_and_less_by_the_cells_that_are_not_looked_at(masks: Any) -> None:
    assert masks.entropy(torch.full((3, 4, 4), 0.2)) == pytest.approx(1)
    half = torch.zeros(2, 4, 4)
    half[:, :2] = 5.0
    assert masks.entropy(half) == pytest.approx(3 / 4)
    one = torch.zeros(1, 4, 4)
    one[0, 1, 2] = 1
    assert masks.entropy(one) == pytest.approx(0, abs=1e-12)


def test_the_common_share_is_one_for_equal_maps_and_none_for_opposite_ones(masks: Any) -> None:
    one = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert masks.common(torch.cat([one, one + 3, one])) == pytest.approx(1)
    assert masks.common(torch.cat([one, -one])) == pytest.approx(0, abs=1e-12)
    sides = torch.zeros(2, 2, 2)
    sides[0, 0, 0] = sides[1, 1, 1] = 4.0
    assert masks.common(sides) == pytest.approx(1 / 3)


def test_found_and_peak_tell_an_image_from_another(masks: Any) -> None:
    truth = torch.zeros(2, 8, 8, dtype=torch.bool)
    truth[0, :4, :4] = truth[1, 4:, 4:] = True
    attention = torch.zeros(2, 2, 2)
    attention[0, 0, 0] = attention[1, 1, 1] = 1
    given = truth.float()
    given[0, :2] = 0
    values = masks.numbers(masks.Seen(attention, given, truth, truth.float()))
    assert values["found"] == pytest.approx(0.75)
    assert values["other's"] == 0
    assert values["area"] == pytest.approx(24 / 128)
    assert (values["peak"], values["other's peak"], values["best"]) == (1, 0, 1)


def test_a_run_is_shown_images_with_findings(masks: Any, tmp_path: Path) -> None:
    prepare(PhantomSource(24, 12, 12, size=48), tmp_path / "store", PrepareConfig(size=48), workers=1)
    budget = {
        "image_encoder": {"name": "test_resnet", "output_stride": 8},
        "data": {"store": str(tmp_path / "store"), "image_size": 32},
        "text_encoder": {"small": {"vocabulary": 300, "width": 32, "word_steps": 3, "steps": 0}},
        "optimisation": {"steps": 2, "batch_size": 12, "warmup": 0},
    }
    for method in ("g2d", "clip"):
        pretrain(recipe(method, "sound", {}, budget), tmp_path / method)
    seen = masks.look(tmp_path / "g2d", tmp_path / "store", 5, "last")
    assert seen.truth.shape == seen.masks.shape == seen.best.shape == (5, 48, 48)
    assert seen.truth.flatten(1).any(dim=1).all()
    values = masks.numbers(seen)
    assert 0 < values["area"] < 0.3
    assert values["best"] > max(2 * values["area"], values["found"])
    with pytest.raises(SystemExit, match="has no attention"):
        masks.look(tmp_path / "clip", tmp_path / "store", 5, "last")
