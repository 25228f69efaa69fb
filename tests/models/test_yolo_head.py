from __future__ import annotations

import pytest
import torch

from lingula.core.errors import UserError
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
