from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from bright_squares import SIZE, Pyramid
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.evaluation.detect_config import DetectConfig
from lingula.evaluation.detection import FoundBoxes, TrueBoxes
from lingula.evaluation.detectors import FLOOR, MOST, Detector, YoloDetection, assign
from lingula.models.yolo_grid import YoloGrid

SHAPES = [(8, 8)] * 3
BOX = (3.0, 5.0, 11.0, 13.0)


def config(**values: Any) -> DetectConfig:
    return DetectConfig.from_values({"width": 8} | values, "test")


def detector(classes: int = 1, network: Any = None, **values: Any) -> Detector:
    torch.manual_seed(0)
    return Detector(network or Pyramid(), classes, SIZE, config(**values))


def boxes(*own: tuple[float, ...], labels: list[int] | None = None) -> TrueBoxes:
    return TrueBoxes(np.array(own, float).reshape(-1, 4), np.array(labels or [0] * len(own), np.int64))


class Said(nn.Module):
    """Outputs of a YOLO head that has learnt to say some boxes."""

    def __init__(self, own: list[tuple[tuple[float, ...], float, int]], classes: int) -> None:
        super().__init__()
        grid = YoloGrid.of(SHAPES, SIZE)
        self.outputs = torch.full((1, len(grid.cells), 5 + (classes if classes > 1 else 0)), -12.0)
        self.outputs[..., :4] = 0
        for box, score, label in own:
            _, predictor = grid.assign(torch.tensor([box]))
            coded = grid.encode(torch.tensor([box]), predictor)[0]
            values = torch.cat([torch.logit(coded[:2]), coded[2:], torch.logit(torch.tensor([score]))])
            self.outputs[0, predictor[0], :5] = values
            if classes > 1:
                self.outputs[0, predictor[0], 5 + label] = 12.0

    def forward(self, levels: list[Tensor]) -> Tensor:
        return self.outputs


def said(*own: tuple[tuple[float, ...], float, int], classes: int = 1, **values: Any) -> FoundBoxes:
    built = detector(classes, **values)
    built.head.net = Said(list(own), classes)
    return built.eval().detect([torch.zeros(1, 3, *shape) for shape in SHAPES])[0]


def test_yolo_says_the_boxes_of_its_outputs_best_first() -> None:
    other = (20.0, 2.0, 30.0, 12.0)
    found = said((BOX, 0.6, 0), (other, 0.8, 0))
    np.testing.assert_allclose(found.boxes, [other, BOX], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.8, 0.6], atol=1e-4)
    assert found.labels.tolist() == [0, 0]
    assert len(said((BOX, FLOOR / 2, 0)).boxes) == 0


def test_classes_multiply_the_score_and_are_suppressed_apart() -> None:
    near = (3.5, 6.0, 12.5, 13.5)
    far = (3.0, 5.0, 16.0, 26.0)
    assert len(said((BOX, 0.9, 0), (near, 0.6, 0)).boxes) == 1
    both = said((BOX, 0.9, 0), (near, 0.6, 1), (far, 0.5, 1), classes=2)
    assert both.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(both.scores, [0.9, 0.6, 0.5], atol=1e-4)
    assert len(said((BOX, 0.9, 0), (near, 0.6, 0), suppress=0.99).boxes) == 2


def test_boxes_are_clipped_to_the_image_and_counted() -> None:
    found = said(((-6.0, -4.0, 8.0, 10.0), 0.9, 0))
    np.testing.assert_allclose(found.boxes, [[0, 0, 8, 10]], atol=1e-3)
    built = detector(suppress=1.0).eval()
    many = Said([], 1)
    many.outputs[..., 4] = torch.linspace(-1, 1, many.outputs.shape[1])
    built.head.net = many
    found = built.detect([torch.zeros(1, 3, *shape) for shape in SHAPES])[0]
    assert len(found.scores) == MOST
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores[0] == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item())


@pytest.mark.parametrize("head", ["yolo", "retinanet"])
def test_no_found_box_is_empty_or_outside_whatever_the_weights(head: str) -> None:
    for seed in range(3):
        built = detector(2, head=head).eval()
        torch.manual_seed(seed)
        for parameter in built.head.parameters():
            parameter.data = torch.randn_like(parameter) * 0.3
        with torch.inference_mode():
            found = built.detect(built.levels(torch.randn(2, 1, SIZE, SIZE)))
        assert sum(len(each.boxes) for each in found) > 20
        for each in found:
            assert (each.boxes[:, 2:] > each.boxes[:, :2]).all()
            assert each.boxes.min() >= 0
            assert each.boxes.max() <= SIZE
            assert (np.diff(each.scores) <= 0).all()


@pytest.mark.parametrize("head", ["yolo", "retinanet"])
def test_a_frozen_encoder_gets_no_gradient_and_no_new_statistics(head: str) -> None:
    images, truth = torch.randn(2, 1, SIZE, SIZE), [boxes(BOX), boxes()]
    for encoder, learns in (("frozen", False), ("fine-tuned", True)):
        built = detector(head=head, encoder=encoder).train()
        norm = built.encoder.norm
        assert norm.training is learns
        before = norm.running_mean.clone()
        built.loss(built.levels(images), truth).backward()
        assert torch.equal(norm.running_mean, before) is not learns
        assert (norm.weight.grad is not None) is learns
        assert all(parameter.grad is not None for parameter in built.head.parameters())
        assert not built.eval().encoder.norm.training


@pytest.mark.parametrize("head", ["yolo", "retinanet"])
def test_the_class_of_a_box_decides_the_loss(head: str) -> None:
    built = detector(2, head=head).eval()
    levels = built.levels(torch.randn(1, 1, SIZE, SIZE))
    with torch.no_grad():
        for parameter in built.head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        losses = [built.loss(levels, [boxes(BOX, labels=[label])]).item() for label in (0, 1)]
        nothing = built.loss(levels, [boxes()]).item()
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)
    assert np.isfinite([*losses, nothing]).all()


def test_yolo_ignores_predictors_that_overlap_a_true_box() -> None:
    """A second predictor that says the box of the first is wrong at `ignore` 1, and not called wrong below its overlap."""
    levels = [torch.zeros(1, 3, *shape) for shape in SHAPES]
    losses = []
    for ignore in (0.5, 1.0):
        head = YoloDetection([3, 3, 3], 1, SIZE, config(ignore=ignore))
        head.net = Said([(BOX, 0.9, 0), ((4.0, 5.0, 12.5, 13.0), 0.9, 0)], 1)
        losses.append(head.loss(levels, [torch.tensor([BOX])], [torch.tensor([0])]).item())
    assert losses[1] - losses[0] == pytest.approx(-np.log(0.1), rel=1e-3)


def test_boxes_of_a_batch_find_their_predictors() -> None:
    grid = YoloGrid.of(SHAPES, SIZE)
    own = [torch.tensor([BOX, (20.0, 2.0, 30.0, 12.0)]), torch.zeros(0, 4), torch.tensor([(0.0, 0.0, 16.0, 32.0)])]
    given = assign(grid, own, [torch.tensor([1, 0]), torch.zeros(0, dtype=torch.long), torch.tensor([2])])
    assert given.image.tolist() == [0, 0, 2]
    assert given.label.tolist() == [1, 0, 2]
    assert given.share.tolist() == pytest.approx([64 / 1024, 100 / 1024, 0.5])
    outputs = torch.zeros(3, len(grid.cells), 4)
    outputs[given.image, given.predictor] = torch.cat([torch.logit(given.coded[:, :2]), given.coded[:, 2:]], dim=1)
    decoded = grid.decode(outputs)[given.image, given.predictor]
    torch.testing.assert_close(decoded, torch.cat(own), atol=1e-4, rtol=1e-4)


def test_the_coarsest_levels_are_looked_at_and_too_few_are_told() -> None:
    class Levels(Pyramid):
        pyramid_channels = (5, 3, 3, 3)

        def pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
            last, levels = super().pyramid(images)
            return last, [torch.zeros(len(images), 5, 1, 1), *levels]

    built = detector(network=Levels())
    assert [level.shape[1] for level in built.levels(torch.zeros(1, 1, SIZE, SIZE))] == [3, 3, 3]

    class Few(Pyramid):
        pyramid_channels = (3, 3)

    with pytest.raises(UserError, match="YOLO needs 3 levels"):
        detector(network=Few())
    assert detector(network=Few(), head="retinanet") is not None
