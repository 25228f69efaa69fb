from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from lingula.core.errors import UserError
from lingula.models.retinanet_head import RetinaNetHead, anchor_sizes
from lingula.models.yolo_head import PRIOR, YoloHead

CHANNELS = [32, 48, 64]


def levels(sides: tuple[int, int, int] = (8, 4, 2)) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, channels, side, side) for channels, side in zip(CHANNELS, sides, strict=True)]


@pytest.mark.parametrize("sides", [(8, 4, 2), (4, 4, 4), (5, 3, 2)])
@pytest.mark.parametrize(("classes", "outputs"), [(1, 5), (3, 8)])
def test_yolo_gives_every_predictor_its_numbers(sides: tuple[int, int, int], classes: int, outputs: int) -> None:
    head = YoloHead([8, 16, *CHANNELS], classes)
    found = head(levels(sides))
    assert found.shape == (2, 3 * sum(side**2 for side in sides), outputs)
    assert found[..., 4].sigmoid().mean().item() == pytest.approx(PRIOR, rel=0.3)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_yolo_says_what_lies_where_in_the_order_of_the_grid() -> None:
    """A change of one cell of the finest level changes the outputs within three 3 x 3 convolutions of it, on that level alone."""
    head = YoloHead(CHANNELS).eval()
    maps = levels()
    before = head(maps)
    maps[0][0, :, 1, 6] += 5
    change = (head(maps) - before).abs().amax(dim=2)[0]
    rows, columns = torch.nonzero(change[: 3 * 64].view(3, 8, 8).amin(dim=0) > 0, as_tuple=True)
    assert (set(rows.tolist()), set(columns.tolist())) == ({0, 1, 2, 3, 4}, {3, 4, 5, 6, 7})
    assert len(rows) == 25
    assert (change[: 3 * 64] > 0).sum() == 3 * 25
    assert change[3 * 64 :].max() == 0


def test_too_few_levels_are_told() -> None:
    with pytest.raises(UserError, match="YOLO needs 3 levels, the image encoder has 2"):
        YoloHead([8, 16])


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
