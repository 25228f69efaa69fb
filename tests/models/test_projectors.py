from __future__ import annotations

import pytest
import torch
from torch import nn

from lingula.models.projectors import Projector

KINDS = ["linear", "batch-norm-linear", "mlp", "batch-norm-mlp"]


@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_projected_each_on_its_own(kind):
    torch.manual_seed(0)
    head = Projector(kind, 6, 8, 5).eval()
    grid = torch.randn(2, 6, 3, 4)
    cells = head.cells(grid)
    assert cells.shape == (2, 5, 3, 4)
    torch.testing.assert_close(cells[1, :, 2, 0], head(grid[1:, :, 2, 0])[0])


def test_a_linear_head_of_the_mean_is_the_mean_of_the_cells():
    head = Projector("linear", 6, 8, 5)
    grid = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(head.cells(grid).mean((2, 3)), head(grid.mean((2, 3))))


def test_the_m_flag_head_is_the_published_one():
    head = Projector("batch-norm-mlp", 2048, 2048, 512)
    kinds = [type(layer) for layer in head.layers]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]
    assert sum(p.numel() for p in head.parameters()) == 2048 * 2048 + 3 * 2048 + 2048 * 512 + 512


def test_its_latents_are_standardised_over_the_batch_and_need_no_batch_afterwards():
    torch.manual_seed(0)
    head = Projector("batch-norm-mlp", 6, 32, 4)
    features = 3 + torch.randn(64, 6)
    latents = head(features)
    torch.testing.assert_close(latents.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.var(0, unbiased=False), torch.ones(4), atol=1e-2, rtol=0)
    head.eval()
    torch.testing.assert_close(head(features[:1]), head(features)[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_does_not_reach_the_heads(kind):
    torch.manual_seed(0)
    head = Projector(kind, 6, 8, 5).eval()
    features = torch.randn(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head(features)
        assert head(features.bfloat16()).dtype == torch.float32
    assert torch.equal(inside, head(features))
