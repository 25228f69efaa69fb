from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from lingula.models.retinanet_head import RetinaNetHead, anchor_sizes

CHANNELS = [32, 48, 64]


def levels() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, channels, side, side) for channels, side in zip(CHANNELS, (8, 4, 2), strict=True)]


def test_retinanet_anchors_cover_small_to_large_and_scale() -> None:
    sides = [side for level in anchor_sizes(3, 100) for side in level]
    assert sides == sorted(sides)
    assert sides[0] == pytest.approx(5)
    assert 90 < sides[-1] < 100
    assert all(later / earlier < 1.5 for earlier, later in pairwise(sides)), "no gap between levels"
    assert anchor_sizes(3, 200)[2][1] == pytest.approx(2 * anchor_sizes(3, 100)[2][1])
    assert min(anchor_sizes(3, 8)[0]) == 1


def test_retinanet_learns_one_batch_and_an_empty_image() -> None:
    torch.manual_seed(0)
    head = RetinaNetHead(CHANNELS, 2, 64, 32, 0.01, 0.5, 100)
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3)
    boxes = [torch.tensor([[10.0, 12.0, 34.0, 30.0]]), torch.zeros(0, 4)]
    labels = [torch.tensor([1]), torch.zeros(0, dtype=torch.long)]
    losses = []
    for _ in range(150):
        loss = head.loss(levels(), boxes, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    head.eval()
    with torch.inference_mode():
        (found, scores, names), (_, empty_scores, _) = head.detect(levels())
    assert scores[0] > 0.5
    assert int(names[0]) == 1
    torch.testing.assert_close(found[0], boxes[0][0], atol=4, rtol=0)
    assert len(empty_scores) == 0 or empty_scores.max() < 0.3
    assert (scores[:-1] >= scores[1:]).all()


def test_boxes_that_lie_outside_the_image_are_not_said() -> None:
    """Every anchor is pushed far to the left: clipped, nothing of its boxes is left."""
    torch.manual_seed(0)
    head = RetinaNetHead(CHANNELS, 1, 64, 32, 0.01, 0.5, 100).eval()
    branches = head.net.head
    with torch.no_grad():
        branches.classification_head.cls_logits.bias.fill_(0.0)
        branches.regression_head.bbox_reg.weight.zero_()
        branches.regression_head.bbox_reg.bias.zero_()
        found = head.detect(levels())
        assert all(len(boxes) > 0 for boxes, _, _ in found)
        branches.regression_head.bbox_reg.bias.view(-1, 4)[:, 0] = -40.0
        for boxes, scores, labels in head.detect(levels()):
            assert len(boxes) == len(scores) == len(labels) == 0


@pytest.mark.parametrize(("width", "groups"), [(256, 32), (64, 8), (40, 4), (9, 1)])
def test_a_group_of_the_norm_has_at_least_eight_channels_or_all(width: int, groups: int) -> None:
    """A group of one channel would be nothing but its own mean on a map of one cell."""
    head = RetinaNetHead((8, 8, 8), 1, 64, width, floor=0.05, overlap=0.5, most=5)
    found = {module.num_groups for module in head.modules() if isinstance(module, torch.nn.GroupNorm)}
    assert found == {groups}
