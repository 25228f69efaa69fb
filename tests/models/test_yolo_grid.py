from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.models.yolo_grid import ANCHORS, YoloGrid, shape_iou

LEVELS, SIZE = ((8, 8), (4, 4), (2, 2)), 64


@pytest.fixture(scope="module")
def grid() -> YoloGrid:
    return YoloGrid.of(LEVELS, SIZE)


def test_there_is_one_predictor_per_anchor_and_cell(grid: YoloGrid) -> None:
    assert len(grid.cells) == len(grid.strides) == len(grid.anchors) == 3 * (64 + 16 + 4)
    zero = grid.decode(torch.zeros(1, 252, 4))[0]
    place = 64 + 2 * 8 + 5  # second anchor of the finest level, row 2, column 5
    width, height = (side * SIZE / 416 for side in ANCHORS[1])
    centre = torch.tensor([5.5 * 8, 2.5 * 8])
    half = torch.tensor([width, height]) / 2
    torch.testing.assert_close(zero[place], torch.cat([centre - half, centre + half]))
    last = zero[-1]
    torch.testing.assert_close((last[:2] + last[2:]) / 2, torch.tensor([48.0, 48.0]))
    torch.testing.assert_close(last[2:] - last[:2], torch.tensor(ANCHORS[8]) * SIZE / 416)


def test_anchors_scale_with_the_image() -> None:
    one, two = YoloGrid.of(LEVELS, 416), YoloGrid.of(LEVELS, 832)
    torch.testing.assert_close(2 * one.anchors, two.anchors)
    assert one.anchors[0].tolist() == [10, 13]
    torch.testing.assert_close(two.strides[0], torch.tensor([104.0, 104.0]))


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 63.9), st.floats(0, 63.9), st.floats(0.5, 64), st.floats(0.5, 64))
def test_encoding_and_decoding_are_inverse(x: float, y: float, width: float, height: float) -> None:
    grid = YoloGrid.of(LEVELS, SIZE)
    box = torch.tensor([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    kept, predictor = grid.assign(box)
    assert kept.tolist() == [0]
    coded = grid.encode(box, predictor)
    assert (coded[:, :2] > -1e-5).all()
    assert (coded[:, :2] < 1 + 1e-5).all()
    outputs = torch.zeros(1, len(grid.cells), 4)
    outputs[0, predictor, :2] = torch.logit(coded[:, :2].clamp(1e-6, 1 - 1e-6))
    outputs[0, predictor, 2:] = coded[:, 2:]
    torch.testing.assert_close(grid.decode(outputs)[0, predictor], box, atol=1e-3, rtol=1e-4)


def test_a_box_goes_to_the_anchor_of_its_shape_in_the_cell_of_its_centre(grid: YoloGrid) -> None:
    boxes = []
    for width, height in ANCHORS:
        half = torch.tensor([width, height]) * SIZE / 416 / 2
        centre = torch.tensor([37.0, 21.0])
        boxes.append(torch.cat([centre - half, centre + half]))
    kept, predictors = grid.assign(torch.stack(boxes))
    assert kept.tolist() == list(range(9))
    for number, predictor in enumerate(predictors.tolist()):
        level = number // 3
        torch.testing.assert_close(grid.anchors[predictor], torch.tensor(ANCHORS[number]) * SIZE / 416)
        assert grid.cells[predictor].tolist() == [37 // (8 * 2**level), 21 // (8 * 2**level)]
        assert grid.strides[predictor].tolist() == [8 * 2**level] * 2


def test_of_two_boxes_at_one_predictor_the_better_fit_keeps_it(grid: YoloGrid) -> None:
    width, height = (side * SIZE / 416 for side in ANCHORS[8])
    half = torch.tensor([width, height]) / 2
    exact, other = half.clone(), half * 0.9
    centre = torch.tensor([16.0, 16.0])
    boxes = torch.stack([torch.cat([centre - side, centre + side]) for side in (other, exact)])
    kept, predictors = grid.assign(boxes)
    assert kept.tolist() == [1]
    assert len(predictors) == 1


def test_nothing_and_the_rim_are_assigned_too(grid: YoloGrid) -> None:
    kept, predictors = grid.assign(torch.zeros(0, 4))
    assert kept.shape == predictors.shape == (0,)
    assert grid.encode(torch.zeros(0, 4), predictors).shape == (0, 4)
    _, corner = grid.assign(torch.tensor([[60.0, 60.0, 68.0, 68.0]]))
    assert 0 <= int(corner) < len(grid.cells)


def test_shape_overlap_in_closed_form() -> None:
    overlap = shape_iou(torch.tensor([[2.0, 2.0], [4.0, 1.0]]), torch.tensor([[2.0, 2.0], [1.0, 4.0]]))
    torch.testing.assert_close(overlap, torch.tensor([[1.0, 2 / 6], [2 / 6, 1 / 7]]))
