from __future__ import annotations

import torch

from lingula.models.whitening import Whitening


def cloud(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, 6, generator=generator, dtype=torch.float64)
        @ torch.diag(torch.tensor([9.0, 3, 1, 1, 0.5, 0.1])).double()
        + 4
    )


def test_the_covariance_of_what_it_has_seen_becomes_the_identity() -> None:
    layer, values = Whitening(6, shrinkage=0).double(), cloud(500)
    for start in range(0, 500, 50):
        layer(values[start : start + 50])
    torch.testing.assert_close(layer.mean, values.mean(0))
    torch.testing.assert_close(layer.covariance, torch.cov(values.T, correction=0))
    white = layer.eval()(values)
    torch.testing.assert_close(torch.cov(white.T, correction=0), torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-8)


def test_shrinkage_keeps_rare_directions_small_and_evaluation_counts_nothing() -> None:
    layer, values = Whitening(6, shrinkage=0.1).double(), cloud(500)
    layer(values)
    spread = torch.linalg.eigvalsh(torch.cov(layer.eval()(values).T, correction=0))
    assert spread.min() < 0.01
    assert 0.9 < spread.max() <= 1
    before = layer.mean.clone()
    layer(values + 100)
    assert torch.equal(layer.mean, before)


def test_uneven_batches_count_by_their_size() -> None:
    layer, values = Whitening(6).double(), cloud(90)
    for part in (values[:7], values[7:60], values[60:]):
        layer(part)
    torch.testing.assert_close(layer.covariance, torch.cov(values.T, correction=0))
    assert layer.seen == 90
