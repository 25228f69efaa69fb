from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from golden import assert_same, wave

from lingula.core.errors import UserError
from lingula.models import AttentionPool2d

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden/g2d/blocks.json").read_text())["pool"]
RELATIVE = {"float32": 1e-5, "float64": 1e-10}


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_equals_the_official_code(precision: str) -> None:
    golden, dtype, relative = GOLDEN[precision], getattr(torch, precision), RELATIVE[precision]
    pool = AttentionPool2d(8, 128, 4, 128).to(dtype)
    assert [name for name, _ in pool.named_parameters()] == golden["names"]
    with torch.no_grad():
        for number, parameter in enumerate(pool.parameters()):
            values = wave(tuple(parameter.shape), 0.017 + 0.001 * number, 0.1 * number, dtype)
            parameter.copy_(values / math.sqrt(parameter.shape[-1]))
    cells = wave((3, 128, 8, 8), 0.37, 0.1, dtype).requires_grad_()
    pooled, attention = pool(cells)
    (pooled.square().sum() + (attention * wave(tuple(attention.shape), 0.7, 0.3, dtype)).sum()).backward()
    assert_same(pooled, golden["pooled"], relative)
    assert_same(attention, golden["attention"], relative)
    assert_same(cells.grad, golden["input_gradient"], relative)
    for name, parameter in pool.named_parameters():
        assert_same(parameter.grad, golden["gradients"][name], 2 * relative)


def test_each_head_spreads_its_attention_over_all_tokens_of_its_own_image() -> None:
    torch.manual_seed(0)
    pool = AttentionPool2d(3, 12, 2, 5)
    grids = torch.randn(4, 12, 3, 3)
    pooled, attention = pool(grids)
    assert (pooled.shape, attention.shape) == ((4, 5), (4, 2, 10))
    torch.testing.assert_close(attention.sum(2), torch.ones(4, 2))
    alone, its_attention = pool(grids[2:3])
    torch.testing.assert_close(alone, pooled[2:3])
    torch.testing.assert_close(its_attention, attention[2:3])


def test_attention_follows_the_cell_that_looks_like_the_query() -> None:
    """With equal projections a cell with the largest product with the mean gets the largest share, at its own place."""
    pool = AttentionPool2d(3, 4, 1, 4)
    with torch.no_grad():
        pool.positional_embedding.zero_()
        pool.mhsa.in_proj_weight.copy_(torch.eye(4).repeat(3, 1))
        pool.mhsa.in_proj_bias.zero_()
    grid = torch.zeros(1, 4, 3, 3)
    grid[0, :, 1, 2] = 5
    assert pool(grid)[1][0, 0, 1:].argmax() == 1 * 3 + 2


def test_heads_that_do_not_divide_are_told_which_do() -> None:
    with pytest.raises(UserError, match=r"3 attention heads do not divide 128 features. These do: 1, 2, 4, 8, 16, 32"):
        AttentionPool2d(8, 128, 3, 128)
    with pytest.raises(ValueError, match="3 x 3 cells needed"):
        AttentionPool2d(3, 4, 1, 4)(torch.zeros(1, 4, 2, 3))
