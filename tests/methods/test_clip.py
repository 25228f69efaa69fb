from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lingula.core.batch import Batch, Tokens
from lingula.methods.base import Embeddings
from lingula.methods.clip import Clip
from lingula.methods.clip_config import ClipConfig
from lingula.objectives import contrastive_loss


class BagOfTokens(nn.Module):
    """The least that a trained text encoder must be."""

    dimension = 6

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, self.dimension)

    def forward(self, tokens: Tokens) -> torch.Tensor:
        return (self.table(tokens.ids) * tokens.mask[..., None]).sum(1) / tokens.mask.sum(1, keepdim=True)


@pytest.mark.parametrize("head", ["linear", "batch-norm-linear", "mlp"])
def test_learns_to_match_pairs(tiny_encoder, tiny_batch, train, head):
    method = Clip(ClipConfig(latent=16, head=head), tiny_encoder, 12)
    history = train(method, tiny_batch)
    assert history[-1] < 0.7 * history[0]


def test_an_untrained_text_tower_is_trained_along(tiny_encoder, tiny_batch, train):
    torch.manual_seed(0)
    ids = torch.stack([tiny_batch.groups + 1, torch.full_like(tiny_batch.groups, 17)], dim=1)
    tokens = Tokens(ids, torch.ones_like(ids, dtype=torch.bool))
    batch = Batch(tiny_batch.study_ids, tiny_batch.images, groups=tiny_batch.groups, tokens=tokens)
    encoder = BagOfTokens()
    method = Clip(ClipConfig(latent=16), tiny_encoder, encoder.dimension, encoder)
    before = encoder.table.weight.detach().clone()
    history = train(method, batch, learning_rate=1e-2)
    assert history[-1] < 0.8 * history[0]
    changed = (encoder.table.weight.detach() - before).abs().sum(1) > 1e-3
    assert set(ids.unique().tolist()) <= set(changed.nonzero().flatten().tolist())


@pytest.mark.parametrize(("positives", "grouped"), [("one", False), ("share", True), ("mask", True)])
def test_the_term_is_the_contrastive_loss_of_the_projections(tiny_encoder, tiny_batch, positives, grouped):
    method = Clip(ClipConfig(latent=8, positives=positives), tiny_encoder, 12)
    image, text = torch.randn(32, tiny_encoder.dimension), tiny_batch.text_features
    losses = method.losses(Embeddings(image, text), tiny_batch.without_pixels())
    groups = tiny_batch.groups if grouped else None
    way = positives if grouped else "share"
    expected = contrastive_loss(method.project_image(image), method.encode_text(text), 0.07, groups, way)
    torch.testing.assert_close(losses.total, expected)
    assert losses.logged["temperature"].item() == pytest.approx(0.07)
    assert 1 < losses.logged["effective_rank"].item() <= 31


def test_temperature_is_learned_and_can_leave_its_bound(tiny_encoder, tiny_batch):
    method = Clip(ClipConfig(latent=8), tiny_encoder, 12)
    assert method.temperature == pytest.approx(0.07)
    with torch.no_grad():
        method.log_temperature.fill_(-20)
    assert method.temperature == pytest.approx(0.01)
    image, text = torch.randn(32, tiny_encoder.dimension), torch.randn(32, 12)
    loss = method.losses(Embeddings(image, text), Batch()).total
    loss.backward()
    assert method.log_temperature.item() == pytest.approx(math.log(0.01))
    assert method.log_temperature.grad.item() < 0, "random pairs want a higher temperature"


def test_latents_and_dense_features_are_unit_vectors_of_one_space(tiny_encoder, tiny_batch):
    method = Clip(ClipConfig(latent=8), tiny_encoder, 12).eval()
    with torch.no_grad():
        latents, texts = method.encode_image(tiny_batch.images), method.encode_text(tiny_batch.text_features)
        dense = method.dense_features(tiny_batch.images.repeat_interleave(2, 2).repeat_interleave(2, 3))
        pooled = method.image_features(tiny_batch.images)
    assert latents.shape == texts.shape == (32, 8)
    assert dense.shape == (32, 8, 2, 2)
    for vectors in (latents.norm(dim=1), texts.norm(dim=1), dense.norm(dim=1)):
        torch.testing.assert_close(vectors, torch.ones_like(vectors))
    torch.testing.assert_close(latents, method.project_image(pooled))


def test_missing_inputs_are_named(tiny_encoder, tiny_batch):
    frozen = Clip(ClipConfig(), tiny_encoder, 12)
    with pytest.raises(ValueError, match="no images"):
        frozen.encode(Batch(text_features=tiny_batch.text_features))
    with pytest.raises(ValueError, match="no text features"):
        frozen.encode(Batch(images=tiny_batch.images))
    with pytest.raises(ValueError, match="no text features"):
        frozen.losses(Embeddings(torch.ones(2, tiny_encoder.dimension)), Batch())
    with pytest.raises(ValueError, match="no tokens"):
        Clip(ClipConfig(), tiny_encoder, 6, BagOfTokens()).encode(tiny_batch)


def test_without_a_text_head_the_text_features_are_the_shared_space(tiny_encoder, tiny_batch, train):
    method = Clip(ClipConfig(latent=16, head="batch-norm-linear", text_head="none"), tiny_encoder, 12)
    features = torch.randn(3, 12)
    torch.testing.assert_close(method.encode_text(features), nn.functional.normalize(features, dim=1))
    assert method.project_image(torch.randn(4, tiny_encoder.dimension)).shape == (4, 12)
    assert not list(method.text_head.parameters())
    history = train(method, tiny_batch)
    assert history[-1] < 0.7 * history[0]
