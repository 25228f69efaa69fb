from __future__ import annotations

import pytest
import torch

from lingula.models.weighted_mean_pool import WeightedMeanPool


def test_equals_a_slow_reference():
    torch.manual_seed(0)
    pool = WeightedMeanPool(3, 5, 8, 2).double().eval()
    grid = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    pooled, weights = pool(grid)
    for image in range(2):
        cells = [grid[image, :, row, column] for row in range(3) for column in range(3)]
        normed = [cell / (1 + pool.norm.eps) ** 0.5 for cell in cells]
        tokens = [sum(normed) / 9, *normed]
        tokens = [token + place for token, place in zip(tokens, pool.positional_embedding, strict=True)]
        values = [sum(cells) / 9, *cells]
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            query = pool.query(tokens[0])[part]
            scores = torch.stack([query @ pool.key(token)[part] / 2 for token in tokens])
            expected = scores.exp() / scores.exp().sum()
            torch.testing.assert_close(weights[image, head], expected)
            mean = sum(weight * value for weight, value in zip(expected, values, strict=True))
            torch.testing.assert_close(pooled[image, 5 * head : 5 * head + 5], mean)


def test_keeps_full_precision_under_autocast_and_refuses_other_grids():
    pool = WeightedMeanPool(2, 4, 4, 1)
    with torch.autocast("cpu", torch.bfloat16):
        pooled, weights = pool(torch.randn(3, 4, 2, 2).bfloat16())
    assert pooled.dtype == weights.dtype == torch.float32
    with pytest.raises(ValueError, match="2 x 2 cells"):
        pool(torch.randn(3, 4, 3, 3))
