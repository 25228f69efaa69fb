from __future__ import annotations

import numpy as np
import pytest

from lingula.evaluation.overlays import border, draw_boxes, draw_contour, draw_heatmap, draw_mask, grey_to_rgb

GREY = grey_to_rgb(np.full((20, 30), 100, np.uint8))
RED = (200, 0, 0)


def square() -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[5:10, 8:20] = True
    return mask


def test_grey_keeps_8_bits_and_stretches_16() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(grey_to_rgb(ramp), np.stack([ramp] * 3, axis=2))
    deep = grey_to_rgb(np.linspace(1000, 3000, 400).astype(np.uint16).reshape(20, 20))
    assert (deep.dtype, deep.min(), deep.max()) == (np.uint8, 0, 255)
    assert not grey_to_rgb(np.zeros((4, 4), np.uint16)).any(), "a black image stays black"


def test_a_mask_is_tinted_inside_framed_at_its_border_and_nothing_else_changes() -> None:
    before, mask = GREY.copy(), square()
    drawn = draw_mask(GREY, mask, RED, opacity=0.5)
    assert (drawn[~mask] == 100).all()
    assert (drawn[6:9, 9:19] == (150, 50, 50)).all()
    assert (drawn[border(mask)] == RED).all()
    np.testing.assert_array_equal(GREY, before)


def test_a_border_is_what_touches_the_outside_as_counted_one_by_one() -> None:
    mask = np.random.default_rng(0).random((12, 15)) < 0.7
    expected = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        expected[y, x] = any(not (0 <= i < 12 and 0 <= j < 15 and mask[i, j]) for i, j in around)
    np.testing.assert_array_equal(border(mask), expected)
    assert (draw_contour(np.zeros((12, 15, 3), np.uint8), mask, RED).any(axis=2) == expected).all()


def test_a_box_is_a_frame_of_its_own_extent_and_is_cut_at_the_image() -> None:
    changed = (draw_boxes(GREY, [(8, 5, 20, 10)], RED) != GREY).any(axis=2)
    np.testing.assert_array_equal(changed, border(square()))
    cut = (draw_boxes(GREY, [(-5, -5, 4, 4)], RED) != GREY).any(axis=2)
    assert cut.sum() == 7
    assert cut[3, :4].all()
    assert cut[:4, 3].all()


def test_a_label_is_written_above_the_box_or_inside_at_the_upper_edge() -> None:
    tall = np.zeros((60, 60, 3), np.uint8)
    for top, rows in ((30, slice(10, 30)), (0, slice(1, 25))):
        plain, named = (draw_boxes(tall, [(5, top, 50, top + 25)], RED, labels) for labels in (None, ["edema"]))
        changed = (plain != named).any(axis=2)
        assert changed.any()
        assert not np.delete(changed, np.r_[rows], axis=0).any()


def test_a_heat_map_leaves_the_image_where_it_is_low() -> None:
    values = np.tile(np.linspace(-1, 1, 30), (20, 1))
    drawn = draw_heatmap(GREY, values)
    assert (drawn[:, 0] == 100).all()
    assert np.abs(drawn[:, -1].astype(int) - 100).max() > 50
    assert (draw_heatmap(GREY, values, limits=(5.0, 6.0)) == GREY).all()
    assert (draw_heatmap(GREY, np.ones((20, 30))) == GREY).all(), "a constant map says nothing"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="layer"):
        draw_mask(GREY, np.ones((5, 5), bool))
    with pytest.raises(ValueError, match="layer"):
        draw_heatmap(GREY, np.ones((5, 5)))
    with pytest.raises(ValueError, match="finite"):
        draw_heatmap(GREY, np.full((20, 30), np.nan))
    with pytest.raises(ValueError, match="empty"):
        draw_boxes(GREY, [(9, 5, 8, 10)])
    with pytest.raises(ValueError, match="1 boxes and 2 labels"):
        draw_boxes(GREY, [(8, 5, 9, 10)], labels=["a", "b"])
