"""Two streams in one: their proportion over any stretch, and that each goes on where it was left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ct_volumes import ChestSource
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.data.loader import BatchBuilder, TextPlan, TrainingLoader
from lingula.data.mixed_loader import MixedLoader
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.samples import BatchOrder
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_store import VolumeStore


@pytest.fixture(scope="module")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingLoader, TrainingLoader]:
    place = tmp_path_factory.mktemp("store") / "store"
    prepare(ChestSource([(16, 16, 16)] * 6), place, PrepareVolumesConfig(check_hounsfield=False), workers=1)
    crop = VolumeCrop(VolumeCropConfig(size=8))
    store = VolumeStore.open(place)
    with_text, without = np.array([1, 3, 5]), np.array([0, 2, 4])
    pairs = TrainingLoader(BatchBuilder(store, crop, 0, TextPlan("report")), BatchOrder(with_text, 1, 0))
    return pairs, TrainingLoader(BatchBuilder(store, crop, 0), BatchOrder(without, 1, 0))


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.01, 0.99), start=st.integers(0, 5000), length=st.integers(1, 400))
def test_any_stretch_has_the_stated_proportion_to_within_one_step(loaders: Any, share: float, start: int, length: int) -> None:
    mixed = MixedLoader(*loaders, share)
    counts = [mixed.images_before(step) for step in range(start, start + length + 1)]
    assert set(np.diff(counts)) <= {0, 1}
    assert abs(counts[-1] - counts[0] - share * length) <= 1 + 1e-6
    assert mixed.images_before(1) == 0, "the first step has text"


def test_every_sample_of_each_stream_comes_once_in_a_pass_of_its_own(loaders: Any) -> None:
    mixed = MixedLoader(*loaders, 0.5)
    items = [mixed.batch(step) for step in range(12)]
    for which, expected in ((True, {"s1", "s3", "s5"}), (False, {"s0", "s2", "s4"})):
        own = [item for item in items if (item.batch.texts is not None) == which]
        assert [item.epoch for item in own] == [0, 0, 0, 1, 1, 1]
        for number in (0, 1):
            assert {item.study_ids[0] for item in own[3 * number : 3 * number + 3]} == expected


def test_what_cannot_be_mixed(loaders: Any) -> None:
    pairs, images = loaders
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="not between 0 and 1"):
            MixedLoader(pairs, images, share)
    with pytest.raises(ValueError, match="gives texts or labels"):
        MixedLoader(pairs, pairs, 0.5)
    labelled = TrainingLoader(replace(images.build, findings=["nodule"]), images.order)
    with pytest.raises(ValueError, match="gives texts or labels"):
        MixedLoader(pairs, labelled, 0.5)
