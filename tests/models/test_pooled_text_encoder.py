from __future__ import annotations

import pytest
import torch

from lingula.core.errors import UserError
from lingula.models.pooled_text_config import BertSizes
from lingula.models.pooled_text_encoder import PooledTextEncoder

SIZES = BertSizes(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=50, max_position_embeddings=16
)


@pytest.fixture(scope="module")
def encoder() -> PooledTextEncoder:
    torch.manual_seed(0)
    encoder = PooledTextEncoder(SIZES, heads=3).eval()
    with torch.no_grad():
        for value in encoder.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return encoder


def test_padding_never_changes_the_result(encoder: PooledTextEncoder) -> None:
    lengths, ids = (3, 9, 6), torch.randint(1, 50, (3, 16))
    mask = (torch.arange(16) < torch.tensor(lengths)[:, None]).long()
    padded = encoder(ids, mask)
    assert padded.shape == (3, 24)
    torch.testing.assert_close(padded.norm(dim=1), torch.ones(3))
    for row, length in enumerate(lengths):
        torch.testing.assert_close(padded[row : row + 1], encoder(ids[row : row + 1, :length]), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(padded[0], encoder(ids)[0], atol=1e-3), "without a mask padding is text"


def test_tokens_come_out_one_by_one(encoder: PooledTextEncoder) -> None:
    ids = torch.randint(1, 50, (2, 7))
    tokens = encoder(ids, pool=False, normalize=False)
    assert tokens.shape == (2, 7, 24)
    torch.testing.assert_close(encoder(ids, normalize=False), encoder.pooler(tokens))
    along_tokens = encoder(ids, pool=False)
    torch.testing.assert_close(along_tokens.norm(dim=1), torch.ones(2, 24), msg="axis 1 is the axis of tokens, as published")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.full((1, 4), 50), "token ids up to 50, where the vocabulary has 50 word pieces"),
        (torch.full((1, 17), 3), "texts of 17 tokens, where the encoder has 16 positions"),
        (torch.zeros(4, dtype=torch.long), r"token ids must be whole numbers, `batch tokens`, not \(4,\)"),
        (torch.zeros(1, 4), "not .* of torch.float32"),
        (torch.zeros(0, 4, dtype=torch.long), r"not \(0, 4\)"),
    ],
)
def test_token_ids_that_do_not_fit(encoder: PooledTextEncoder, ids: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        encoder(ids)


def test_a_text_of_padding_alone_is_refused(encoder: PooledTextEncoder) -> None:
    ids, mask = torch.ones(2, 4, dtype=torch.long), torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]])
    with pytest.raises(UserError, match="a text has no token that is not masked"):
        encoder(ids, mask)
    assert encoder(ids, mask, pool=False).shape == (2, 4, 24), "without pooling nothing is divided by the number of tokens"
