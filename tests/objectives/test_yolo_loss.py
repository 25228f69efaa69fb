from __future__ import annotations

import math

import pytest
import torch

from lingula.objectives import AssignedBoxes, yolo_loss


def assigned(dtype: torch.dtype = torch.float64) -> AssignedBoxes:
    return AssignedBoxes(
        image=torch.tensor([0, 1, 1]),
        predictor=torch.tensor([2, 0, 5]),
        coded=torch.tensor([[0.2, 0.7, 0.1, -0.3], [0.5, 0.5, 0.0, 0.0], [0.9, 0.1, 1.0, 0.4]], dtype=dtype),
        share=torch.tensor([0.5, 0.02, 1.0], dtype=dtype),
        label=torch.tensor([1, 0, 1]),
    )


def slow(outputs: torch.Tensor, boxes: AssignedBoxes, overlap: torch.Tensor, ignore: float) -> float:
    def cross_entropy(logit: float, target: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -(target * math.log(p) + (1 - target) * math.log(1 - p))

    owners = {(int(i), int(p)): n for n, (i, p) in enumerate(zip(boxes.image, boxes.predictor, strict=True))}
    total = 0.0
    for image in range(outputs.shape[0]):
        for predictor in range(outputs.shape[1]):
            values = outputs[image, predictor].tolist()
            number = owners.get((image, predictor))
            if number is None:
                total += cross_entropy(values[4], 0.0) if overlap[image, predictor] <= ignore else 0.0
                continue
            x, y, w, h = boxes.coded[number].tolist()
            weight = 2 - float(boxes.share[number])
            total += cross_entropy(values[4], 1.0)
            total += weight * (cross_entropy(values[0], x) + cross_entropy(values[1], y))
            total += weight * ((values[2] - w) ** 2 + (values[3] - h) ** 2) / 2
            for place, logit in enumerate(values[5:]):
                total += cross_entropy(logit, float(place == int(boxes.label[number])))
    return total / outputs.shape[0]


@pytest.mark.parametrize("classes", [0, 2])
def test_equals_a_slow_reference_and_its_gradient(classes: int) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(2, 6, 5 + classes, dtype=torch.float64, requires_grad=True)
    overlap = torch.rand(2, 6, dtype=torch.float64)
    overlap[0, 2] = 0.9  # an assigned predictor counts however much it overlaps
    loss = yolo_loss(outputs, assigned(), overlap, 0.5)
    assert loss.item() == pytest.approx(slow(outputs.detach(), assigned(), overlap, 0.5), rel=1e-12)
    assert torch.autograd.gradcheck(lambda values: yolo_loss(values, assigned(), overlap, 0.5), outputs)
    loss.backward()
    ignored = overlap > 0.5
    ignored[0, 2] = ignored[1, 0] = ignored[1, 5] = False
    assert ignored.any()
    assert (outputs.grad[ignored] == 0).all()
    assert (outputs.grad[..., 4][~ignored] != 0).all()


def test_images_without_boxes_have_a_loss_of_background_alone() -> None:
    nothing = AssignedBoxes(*(part[:0] for part in vars(assigned()).values()))
    outputs = torch.zeros(2, 3, 5, requires_grad=True)
    loss = yolo_loss(outputs, nothing, torch.zeros(2, 3))
    assert loss.item() == pytest.approx(3 * math.log(2))
    loss.backward()
    assert (outputs.grad[..., :4] == 0).all()
    assert torch.isfinite(outputs.grad).all()


def test_half_precision_is_left_behind_and_extremes_stay_finite() -> None:
    outputs = torch.full((2, 6, 5), 1e4, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = yolo_loss(outputs, assigned(torch.float32), torch.zeros(2, 6))
    assert loss.dtype == torch.float32
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(outputs.grad).all()


def test_it_is_lowest_where_the_outputs_say_the_boxes() -> None:
    boxes = assigned()
    outputs = torch.full((2, 6, 5), -12.0, dtype=torch.float64)
    outputs[boxes.image, boxes.predictor, :2] = torch.logit(boxes.coded[:, :2])
    outputs[boxes.image, boxes.predictor, 2:4] = boxes.coded[:, 2:]
    outputs[boxes.image, boxes.predictor, 4] = 12.0
    outputs.requires_grad_()
    yolo_loss(outputs, boxes, torch.zeros(2, 6)).backward()
    assert outputs.grad.abs().max() < 1e-4
