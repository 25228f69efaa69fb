from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from volume_blobs import BlobModel, blob_store

from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.segmentation_truth import known_places
from lingula.evaluation.volume_segment_config import VolumeSegmentConfig
from lingula.evaluation.volume_segmenter import WholeVolumes, build_volume_segmenter
from lingula.evaluation.volume_truth import VolumeTruth

SIZE = (8, 8, 8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    return blob_store(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def truth(store: VolumeStore) -> VolumeTruth:
    places = known_places(store, np.arange(8), np.arange(12, 18), EvaluateConfig(store=Path("x")))
    return VolumeTruth(places.findings, places.known, places.outlined, store)


def test_crops_that_aim_at_a_finding_hold_it_and_stay_in_the_volume(truth: VolumeTruth) -> None:
    crop, held = VolumeCrop(VolumeCropConfig(size=8)), {0.0: 0, 1.0: 0}
    for share in held:
        for draw in range(200):
            row = draw % 8
            start = truth.place(row, SIZE, share, ("seed", draw))
            end = np.array(start) + SIZE
            assert (np.array(start) >= 0).all()
            assert (end <= truth.store.shape(row)).all()
            held[share] += bool(truth.masks(row, crop, start, SIZE).any()) or not truth.outlined[row].any()
    assert held[1.0] == 200
    assert held[0.0] < 190
    starts = np.array([truth.place(0, SIZE, 0.0, ("even", draw)) for draw in range(300)])
    assert set(starts[:, 0].tolist()) == set(range(20 - 8 + 1))
    assert truth.place(0, SIZE, 0.5, ("even", 7)) == truth.place(0, SIZE, 0.5, ("even", 7))
    assert truth.place(0, (32, 8, 8), 1.0, ("wide", 0))[0] == -6, "a volume that is too short stands in the middle"


def test_volumes_and_masks_of_a_crop_vary_alike(truth: VolumeTruth) -> None:
    """A nodule is the brightest there is: with and without mirrors the mask lies on it, padding is empty."""
    crop = VolumeCrop(VolumeCropConfig(size=8, flip=(0.5, 0.5, 0.5), contrast=0.05))
    nodule, mirrored = truth.findings.index("Nodule"), 0
    for draw in range(16):
        values = crop.read_at(truth.store, 0, (-2, 1, 3), (24, 12, 12), ("vary", draw))
        mask = truth.masks(0, crop, (-2, 1, 3), (24, 12, 12), ("vary", draw))[nodule]
        np.testing.assert_array_equal(values > 0.3, mask)
        mirrored += not np.array_equal(mask, truth.masks(0, crop, (-2, 1, 3), (24, 12, 12))[nodule])
    assert 8 <= mirrored < 16


def test_batches_hold_every_volume_once_per_epoch(truth: VolumeTruth) -> None:
    crop = VolumeCrop(VolumeCropConfig(size=8))
    batches = truth.batches(crop, SIZE, np.arange(8), 4, 1.0, False, 0)
    seen = [next(batches) for _ in range(4)]
    assert all(volumes.shape == (4, 1, *SIZE) and masks.shape == (4, 2, *SIZE) for volumes, masks, _ in seen)
    for epoch in (seen[:2], seen[2:]):
        assert sum(int(masks.flatten(1).any(dim=1).sum()) for _, masks, _ in epoch) >= 6
    assert not torch.equal(seen[0][0], seen[2][0])


def test_windows_cover_a_volume_of_any_size_and_agree_with_one_window(truth: VolumeTruth) -> None:
    """Where one window holds the whole volume, it is the network's own answer on it; smaller ones cover every voxel."""
    model = BlobModel()
    torch.manual_seed(1)
    network = build_volume_segmenter(
        model.volume_trainable(truth.store), 2, VolumeSegmentConfig(width=4), "frozen", "light"
    ).eval()
    whole = WholeVolumes(model.crop, (20, 16, 12), VolumeSegmentConfig())
    with torch.no_grad():
        values = torch.from_numpy(model.crop.read_at(truth.store, 0, (0, 0, 0), truth.store.shape(0)))
        direct = network(values[None, None])[0].sigmoid()
    torch.testing.assert_close(whole.predict(network, truth, 0), direct, rtol=1e-4, atol=1e-5)
    for row in (1, 2):
        found = WholeVolumes(model.crop, SIZE, VolumeSegmentConfig(overlap=0.25)).predict(network, truth, row)
        assert tuple(found.shape) == (2, *truth.store.shape(row))
        assert found.isfinite().all()
    assert tuple(WholeVolumes(model.crop, (24, 24, 24), VolumeSegmentConfig()).predict(network, truth, 1).shape[1:]) == (
        21,
        16,
        13,
    )
