from __future__ import annotations

import copy

import pytest
import torch

from lingula.core.batch import Batch
from lingula.methods.base import Embeddings
from lingula.methods.m_flag import MFlag
from lingula.methods.m_flag_config import PRESETS, MFlagConfig
from lingula.methods.parameters import parameter_report
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.objectives import alignment_loss, effective_rank, orthogonality_floor, orthogonality_loss

SMALL = {"latent": 16, "hidden": 32}


@pytest.mark.parametrize("on", ["features", "latents", "both"])
def test_a_few_steps_lower_both_terms(tiny_encoder, tiny_batch, train, on):
    method = MFlag(MFlagConfig(**SMALL, orthogonality_on=on), tiny_encoder, 12)
    history = train(method, tiny_batch, steps=20)
    assert history[-1] < 0.7 * history[0]


def test_the_released_terms_are_the_objectives_one_to_one(tiny_encoder, tiny_batch):
    config = MFlagConfig(**PRESETS["released"]["method"] | SMALL)
    method = MFlag(config, tiny_encoder, 12)
    image = torch.rand(32, tiny_encoder.dimension)
    losses = method.losses(Embeddings(image, tiny_batch.text_features), tiny_batch.without_pixels())
    alignment = alignment_loss(method.image_head(image), method.text_head(tiny_batch.text_features))
    torch.testing.assert_close(losses.terms["alignment"], alignment)
    torch.testing.assert_close(losses.terms["orthogonality"], orthogonality_loss(image))
    torch.testing.assert_close(losses.total, alignment + orthogonality_loss(image))
    assert losses.logged["orthogonality_floor"] == orthogonality_floor(32, tiny_encoder.dimension)


def test_weights_and_choices_reach_the_terms(tiny_encoder, tiny_batch):
    config = MFlagConfig(
        **SMALL, orthogonality_on="both", alignment_weight=2.0, orthogonality_weight=3.0, off_diagonal_weight=0.1
    )
    method = MFlag(config, tiny_encoder, 12)
    image, text = torch.rand(32, tiny_encoder.dimension), tiny_batch.text_features
    losses = method.losses(Embeddings(image, text), Batch())
    parts = [image, method.image_head(image), method.text_head(text)]
    expected = sum(orthogonality_loss(part, 0.1, "centred", per_dimension=True) for part in parts) / 3
    torch.testing.assert_close(losses.terms["orthogonality"], expected)
    torch.testing.assert_close(losses.total, 2 * losses.terms["alignment"] + 3 * expected)
    assert losses.logged["orthogonality_floor"] <= losses.terms["orthogonality"].item()


def test_only_the_orthogonality_term_reaches_features_that_say_nothing_about_the_text(tiny_encoder):
    """The alignment alone leaves the trunk free to collapse; the covariance term pulls collapsed features apart."""
    torch.manual_seed(0)
    method = MFlag(MFlagConfig(**SMALL), tiny_encoder, 12)
    collapsed = (torch.randn(32, 1) @ torch.randn(1, tiny_encoder.dimension)).requires_grad_()
    for _ in range(2):
        losses = method.losses(Embeddings(collapsed, torch.randn(32, 12)), Batch())
    assert losses.logged["effective_rank"].item() == pytest.approx(1, abs=1e-3)
    spread = torch.randn(32, tiny_encoder.dimension)
    assert method.losses(Embeddings(spread, torch.randn(32, 12)), Batch()).logged["effective_rank"] > 10
    (gradient,) = torch.autograd.grad(losses.terms["orthogonality"], collapsed)
    assert gradient.abs().max() > 0


def test_batch_norm_sees_the_whole_batch_in_training_and_none_of_it_afterwards(tiny_encoder, tiny_batch):
    method = MFlag(MFlagConfig(**SMALL), tiny_encoder, 12)
    text = tiny_batch.text_features
    whole = method.text_head(text)
    torch.testing.assert_close(whole.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    assert not torch.allclose(torch.cat([method.text_head(text[:16]), method.text_head(text[16:])]), whole)
    method.eval()
    torch.testing.assert_close(torch.cat([method.text_head(text[:16]), method.text_head(text[16:])]), method.text_head(text))


def test_dense_features_of_a_constant_map_are_the_image_latent(tiny_encoder):
    method = MFlag(MFlagConfig(**SMALL), tiny_encoder, 12).eval()
    cell = torch.rand(2, tiny_encoder.dimension)
    method.image_encoder.feature_map = lambda images: cell[:, :, None, None].expand(-1, -1, 3, 3)
    dense = method.dense_features(torch.zeros(2, 1, 96, 96))
    torch.testing.assert_close(dense, method.project_image(cell)[:, :, None, None].expand_as(dense))


def test_gradients_with_cached_embeddings_are_those_of_the_plain_backward(tiny_encoder, tiny_batch):
    """Encode, cut the graph, take the losses' gradient, push it back in micro-batches: what a large batch needs."""
    method = MFlag(MFlagConfig(**SMALL), tiny_encoder, 12).eval()
    method.image_head.train()
    method.text_head.train()
    other = copy.deepcopy(method)
    method.losses(method.encode(tiny_batch), tiny_batch.without_pixels()).total.backward()
    with torch.no_grad():
        embeddings = other.encode(tiny_batch)
    leaf = embeddings.image.requires_grad_()
    other.losses(Embeddings(leaf, embeddings.text), tiny_batch.without_pixels()).total.backward()
    for rows in (slice(0, 16), slice(16, 32)):
        other.encode(tiny_batch[rows]).image.backward(leaf.grad[rows])
    for (name, a), b in zip(method.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(("latent", "trainable", "share"), [(512, 31.39e6, 0.777), (1024, 33.48e6, 0.766)])
def test_the_78_per_cent_of_the_abstract(latent, trainable, share):
    """ResNet-50 and heads beside BERT-base (109.48 M): 77.7 % frozen with 512-d heads, 76.6 % with the released 1024-d ones."""
    with torch.device("meta"):
        encoder = RadiographEncoder(ImageEncoderConfig(name="resnet50", channels=3))
        method = MFlag(MFlagConfig(latent=latent), encoder, 768)
    report = parameter_report(method, 109_482_240)
    assert report.trainable == pytest.approx(trainable, rel=5e-4)
    assert report.frozen_share == pytest.approx(share, abs=5e-4)
    assert report.total == report.trainable + 109_482_240
    assert "frozen" in str(report)


@pytest.mark.parametrize(("on", "collapses"), [("features", True), ("both", False)])
def test_the_latents_do_not_collapse_without_negatives(on, collapses):
    """Texts with one dominant direction: alignment alone follows it, a covariance term on the latents keeps the others too."""
    torch.manual_seed(0)
    head_only = MFlag(MFlagConfig(latent=16, hidden=32, orthogonality_on=on), _Pixels(), 12)
    causes = torch.randn(256, 8) * torch.tensor([6.0] + [1.0] * 7)
    image = causes @ torch.randn(8, _Pixels.dimension) + 0.5 * torch.randn(256, _Pixels.dimension)
    text = causes @ torch.randn(8, 12) + 0.5 * torch.randn(256, 12)
    optimiser = torch.optim.AdamW(head_only.parameters(), lr=1e-2)
    for _ in range(200):
        losses = head_only.losses(Embeddings(image, text), Batch())
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
    rank = losses.logged["effective_rank_latents"].item()
    assert rank < 2 if collapses else rank > 4


class _Pixels(torch.nn.Module):
    """Stands for an image encoder whose features are given."""

    dimension = 24


@pytest.mark.parametrize("head", ["none", "whitening"])
def test_a_fixed_text_head_cannot_collapse(tiny_encoder, tiny_batch, train, head):
    method = MFlag(MFlagConfig(hidden=32, text_head=head, orthogonality_weight=0.0), tiny_encoder, 12)
    assert not list(method.text_head.parameters())
    history = train(method, tiny_batch, steps=20)
    assert history[-1] < 0.8 * history[0]
    assert effective_rank(method.encode_text(tiny_batch.text_features)) > 3
    assert method.project_image(torch.rand(4, tiny_encoder.dimension)).shape == (4, 12)
