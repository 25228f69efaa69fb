from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from lingula.core.batch import Batch
from lingula.methods.base import Embeddings
from lingula.methods.supervised import Supervised, masked_cross_entropy
from lingula.methods.supervised_config import SupervisedConfig

FINDINGS = ["a", "b", "c", "d"]


def test_a_few_steps_lower_the_loss(tiny_encoder, tiny_batch, train):
    method = Supervised(SupervisedConfig(), tiny_encoder, FINDINGS)
    history = train(method, tiny_batch)
    assert history[-1] < 0.6 * history[0]
    assert method.findings == FINDINGS
    assert not method.needs_text


def test_unknown_labels_have_no_influence():
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 0, float("nan")]] * 6, dtype=torch.float64)
    loss = masked_cross_entropy(logits, labels)
    torch.testing.assert_close(loss, functional.binary_cross_entropy_with_logits(logits[:, :2], labels[:, :2]))
    loss.backward()
    assert (logits.grad[:, 2] == 0).all()
    assert (logits.grad[:, :2] != 0).all()


def test_a_batch_without_any_known_label_costs_nothing():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.full((2, 3), float("nan")))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_logits_read_the_pooled_features_even_under_autocast(tiny_encoder, tiny_batch):
    method = Supervised(SupervisedConfig(), tiny_encoder, FINDINGS).eval()
    features = method.image_features(tiny_batch.images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = method.logits(features)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, features @ method.classifier.weight.T + method.classifier.bias)


def test_it_shares_no_space_with_texts(tiny_encoder, tiny_batch):
    method = Supervised(SupervisedConfig(), tiny_encoder, FINDINGS).eval()
    assert method.encode_image(tiny_batch.images).shape == (32, 0)
    with pytest.raises(TypeError, match="no text tower"):
        method.encode_text(tiny_batch.text_features)
    with pytest.raises(TypeError, match="no text tower"):
        method.dense_features(tiny_batch.images)


def test_missing_inputs_are_named(tiny_encoder):
    with pytest.raises(ValueError, match="at least one finding"):
        Supervised(SupervisedConfig(), tiny_encoder, [])
    method = Supervised(SupervisedConfig(), tiny_encoder, FINDINGS)
    with pytest.raises(ValueError, match="no images"):
        method.encode(Batch())
    with pytest.raises(ValueError, match="no labels"):
        method.losses(Embeddings(torch.ones(2, tiny_encoder.dimension)), Batch())
