from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.core.errors import UserError
from lingula.models.attention_pool_1d import AttentionPool1d


def make(dim: int = 12, heads: int = 3) -> AttentionPool1d:
    torch.manual_seed(0)
    pool = AttentionPool1d(dim, heads)
    with torch.no_grad():
        for value in pool.parameters():
            value.copy_(0.5 * torch.randn_like(value))
    return pool


def slow(pool: AttentionPool1d, tokens: np.ndarray, heads: int = 3) -> np.ndarray:
    """One sequence `tokens features` without padding, in float64."""
    weights = {name: value.detach().double().numpy() for name, value in pool.attn.state_dict().items()}
    matrices, biases = np.split(weights["in_proj_weight"], 3), np.split(weights["in_proj_bias"], 3)
    query = tokens.mean(axis=0) @ matrices[0].T + biases[0]
    keys, values = (tokens @ matrices[n].T + biases[n] for n in (1, 2))
    out = []
    for own in np.split(np.arange(len(query)), heads):
        shares = np.exp(keys[:, own] @ query[own] / np.sqrt(len(own)))
        out.append(shares / shares.sum() @ values[:, own])
    return np.concatenate(out) @ weights["out_proj.weight"].T + weights["out_proj.bias"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 5), st.integers(0, 1000))
def test_padding_never_changes_the_result(lengths: list[int], more: int, seed: int) -> None:
    pool, width = make(), max(lengths) + more
    tokens = torch.randn(len(lengths), width, 12, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    rubbish = torch.where(mask[..., None], tokens, 1e4)
    pooled = pool(rubbish, mask.long())
    for row, length in enumerate(lengths):
        expected = slow(pool, tokens[row, :length].double().numpy())
        np.testing.assert_allclose(pooled[row].detach().numpy(), expected, atol=1e-5)


def test_without_a_mask_every_token_counts() -> None:
    pool, tokens = make(), torch.randn(2, 5, 12)
    for row in range(2):
        np.testing.assert_allclose(pool(tokens)[row].detach().numpy(), slow(pool, tokens[row].double().numpy()), atol=1e-5)
    torch.testing.assert_close(pool(tokens, torch.ones(2, 5)), pool(tokens))


def test_the_dense_map_is_what_pooling_gives_a_token_alone() -> None:
    pool, grid = make(), torch.randn(2, 12, 3, 1, 2)
    dense = pool.dense(grid)
    assert dense.shape == grid.shape
    for x, z in ((0, 1), (2, 0)):
        torch.testing.assert_close(dense[:, :, x, 0, z], pool(grid[:, None, :, x, 0, z]), atol=1e-6, rtol=1e-5)


def test_with_equal_attention_pooling_is_the_mean_of_the_dense_map() -> None:
    pool, grid = make(), torch.randn(2, 12, 2, 3, 2)
    with torch.no_grad():
        pool.attn.in_proj_weight[:12] = 0
        pool.attn.in_proj_bias[:12] = 0
    torch.testing.assert_close(pool(grid.flatten(2).transpose(1, 2)), pool.dense(grid).mean(dim=(2, 3, 4)), atol=1e-6, rtol=1e-5)


def test_the_dense_map_trains_the_pooling() -> None:
    pool = make()
    pool.dense(torch.randn(1, 12, 2, 2, 2)).square().sum().backward()
    query, key, value = pool.attn.in_proj_weight.grad.chunk(3)
    assert value.abs().min() > 0
    assert (query == 0).all()
    assert (key == 0).all()


def test_masks_that_do_not_fit() -> None:
    pool, tokens = make(), torch.randn(2, 5, 12)
    with pytest.raises(UserError, match=r"a mask of \(2, 4\) does not fit tokens of \(2, 5\)"):
        pool(tokens, torch.ones(2, 4))
    with pytest.raises(UserError, match=r"5 attention heads do not divide 12 features. These do: 1, 2, 3, 4, 6, 12"):
        AttentionPool1d(12, 5)
