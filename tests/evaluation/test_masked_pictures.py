"""Pictures of masked-image modelling, on the phantom: what is hidden is what the mask says, what is kept is shown as it is."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ct_runs import SPACING
from PIL import Image

from lingula.core.randomness import random_key
from lingula.data.phantom.ct_source import PhantomCtSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.masked_pictures import HIDDEN, MARGIN, SIDE, Filled, draw_masked, fill_hidden, masked_planes
from lingula.evaluation.volume_encoder import HiddenFiller
from lingula.evaluation.volume_pictures import GAP
from lingula.models.masked_decoder import MaskedDecoder
from lingula.models.volume_config import VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder
from lingula.models.volume_tower import VolumeTower
from lingula.objectives.masked_image import kept_patches

CROP, PATCH, SHARE = (24, 16, 20), (8, 4, 4), 0.7
GRID = (3, 4, 5)
ALONG = {"RAS": (0, 1, 2), "SAR": (2, 1, 0)}


@pytest.fixture(scope="module", params=list(ALONG))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    folder = tmp_path_factory.mktemp("masked") / "store"
    prepare(
        PhantomCtSource(2, 0, 0, spacing=SPACING),
        folder,
        PrepareVolumesConfig(spacing=SPACING, orientation=request.param),
        workers=1,
    )
    return VolumeStore.open(folder)


@pytest.fixture(scope="module")
def filler() -> HiddenFiller:
    torch.manual_seed(0)
    config = VolumeEncoderConfig(embed_dim=24, depth=1, num_heads=2, patch_size=PATCH, drop_path=0.0)
    tower, decoder = VolumeTower(VolumeEncoder(config), 16, 2).eval(), MaskedDecoder(config, 1).eval()
    return HiddenFiller(tower, decoder, SHARE, VolumeCrop(VolumeCropConfig(size=CROP, hu_range=(-900.0, 700.0))))


def to_store(values: np.ndarray, store: VolumeStore) -> np.ndarray:
    """Back to the store's axes, in which the mask is drawn."""
    return values.transpose(np.argsort(ALONG[store.storing.orientation]))


def test_hidden_is_what_the_mask_says_and_kept_is_what_is_there(store: VolumeStore, filler: HiddenFiller) -> None:
    found = fill_hidden(filler, store, 1, seed=4)
    volume = filler.crop.evaluate(store, [1])
    kept = kept_patches([random_key(4, store.column("row_id")[1], "picture")], math.prod(GRID), SHARE)
    with torch.no_grad():
        every = torch.arange(math.prod(GRID))[None]
        predicted = filler.decoder(filler.tower.visible(volume, kept), kept, every, GRID)[0].numpy()
    there = volume[0, 0].numpy() * 800 - 100
    hidden, filled = (to_store(each, store) for each in (found.hidden, found.predicted))
    np.testing.assert_allclose(to_store(found.hounsfield, store), there, atol=1e-3)
    squares = []
    for number, place in enumerate(itertools.product(*map(range, GRID))):
        part = tuple(slice(at * step, (at + 1) * step) for at, step in zip(place, PATCH, strict=True))
        if number in kept[0].tolist():
            assert not hidden[part].any()
            np.testing.assert_array_equal(filled[part], to_store(found.hounsfield, store)[part])
        else:
            assert hidden[part].all()
            np.testing.assert_allclose(filled[part], predicted[number].reshape(PATCH) * 800 - 100, atol=1e-2)
            squares.append((predicted[number].reshape(PATCH) - volume[0, 0].numpy()[part]) ** 2)
    assert hidden.mean() == pytest.approx(SHARE)
    assert found.error == pytest.approx(np.mean(squares), rel=1e-4)
    guess = ((there[~hidden].mean() - there[hidden]) / 800) ** 2
    assert found.guess == pytest.approx(guess.mean(), rel=1e-4)


def test_another_seed_or_volume_hides_other_patches(store: VolumeStore, filler: HiddenFiller) -> None:
    masks = [fill_hidden(filler, store, row, seed).hidden for row, seed in ((0, 0), (0, 1), (1, 0))]
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(masks, 2))
    np.testing.assert_array_equal(masks[0], fill_hidden(filler, store, 0).hidden)


def drawn_planes(found: Filled) -> list[list[np.ndarray]]:
    """Cut each row into its axial, coronal and sagittal plane."""
    extent = np.array(found.hounsfield.shape) * found.spacing
    x, y, _ = np.rint(extent * SIDE / extent.max()).astype(int)
    places = ((0, x), (x + GAP, x), (2 * (x + GAP), y))
    return [[row[:, left : left + width] for left, width in places] for row in masked_planes(found)]


def test_planes_are_those_of_radiologists_with_hidden_patches_in_grey() -> None:
    """One bright corner (right, front, head) and one hidden block at the left in front lie where they belong in all planes."""
    shape, hidden = (24, 16, 20), np.zeros((24, 16, 20), bool)
    there = np.full(shape, -1100.0, np.float32)
    there[12:, 8:, 10:] = 500
    hidden[:8, 8:] = True
    predicted = np.where(hidden, 500.0, there).astype(np.float32)
    there_, seen, filled = drawn_planes(Filled(there, hidden, predicted, (5.0, 4.0, 3.0), 0.0, 0.0))
    assert [plane.shape[1] for plane in there_] == [SIDE, SIDE, round(64 * SIDE / 120)]
    for plane, height in zip(there_, (64, 60, 60), strict=True):
        bottom = round(height * SIDE / 120) - 5
        assert plane[4, 4, 0] == 255, "right or front is on the left, front or head is up"
        assert plane[bottom, -5, 0] == 0
    grey = (seen[0] == HIDDEN).all(axis=2)[: round(64 * SIDE / 120)]
    assert grey.mean() == pytest.approx(1 / 6, abs=0.01)
    assert grey[: len(grey) // 2 - 1, -SIDE // 3 + 1 :].all()
    assert (seen[1] == HIDDEN).all(axis=2).any()
    np.testing.assert_array_equal(seen[2], there_[2])
    for before, after, made in zip(there_, seen, filled, strict=True):
        drawn_grey = (after == HIDDEN).all(axis=2)
        np.testing.assert_array_equal(after[~drawn_grey], before[~drawn_grey])
        if before is not there_[2]:
            assert (made[drawn_grey] > before[drawn_grey]).mean() > 0.9


def test_the_sheet_holds_the_rows(store: VolumeStore, filler: HiddenFiller, tmp_path: Path) -> None:
    found = fill_hidden(filler, store, 0)
    with Image.open(draw_masked(found, tmp_path / "masked.png", "a title", ["a note"])) as sheet:
        pixels = np.array(sheet)
    ends = []
    for row in masked_planes(found):
        height, width = row.shape[:2]
        inside = pixels[:, MARGIN : MARGIN + width]
        starts = np.flatnonzero((inside == row[0]).all(axis=(1, 2)))
        ends += [top + height for top in starts if np.array_equal(inside[top : top + height], row)]
    assert len(ends) == 3
    assert ends == sorted(ends)
