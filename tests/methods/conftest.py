"""A tiny world in which images and texts share one hidden cause."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lingula.core.batch import Batch
from lingula.methods.tokeniser import train_tokeniser
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling

TEXT_FEATURES, FINDINGS = 12, 4


@pytest.fixture
def tiny_encoder() -> RadiographEncoder:
    """The smallest encoder there is, with fixed random weights."""
    torch.manual_seed(0)
    return RadiographEncoder(ImageEncoderConfig(name="test_resnet"))


@pytest.fixture
def tiny_batch() -> Batch:
    """32 studies; each finding brightens one quarter of the image and moves the text features along one direction."""
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(32, FINDINGS, generator=generator) < 0.5).float()
    quarters = labels.reshape(-1, 1, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    images = quarters + 0.3 * torch.randn(32, 1, 32, 32, generator=generator)
    text = labels @ torch.randn(FINDINGS, TEXT_FEATURES, generator=generator)
    unknown = torch.rand(labels.shape, generator=generator) < 0.2
    groups = (labels * 2 ** torch.arange(FINDINGS)).sum(1).long()
    return Batch(
        study_ids=[f"study-{i}" for i in range(32)],
        images=images,
        groups=groups,
        text_features=text + 0.05 * torch.randn(text.shape, generator=generator),
        labels=labels.masked_fill(unknown, float("nan")),
    )


@pytest.fixture
def tiny_text_encoder() -> Callable[..., TextEncoder]:
    """Make a BERT of a few random features that knows the words of the tests."""
    from transformers import BertConfig, BertModel

    texts = ["no effusion on the left", "clear lungs", "heart is large and lungs are clear"]

    def make(pooling: str, frozen: bool, layers: int) -> TextEncoder:
        tokeniser = train_tokeniser(texts * 2, SmallLanguageModelConfig(vocabulary=80, max_tokens=24))
        torch.manual_seed(2)
        sizes = {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 24}
        bert = BertModel(BertConfig(vocab_size=len(tokeniser), max_position_embeddings=24, **sizes), add_pooling_layer=False)
        return TextEncoder(bert, tokeniser, Pooling(kind=pooling, max_tokens=24), frozen=frozen)

    return make


@pytest.fixture
def train():
    """Run a few steps on one batch; return the total loss at every step."""

    def run(method, batch: Batch, steps: int = 15, learning_rate: float = 3e-3) -> list[float]:
        optimiser = torch.optim.AdamW(method.parameters(), lr=learning_rate)
        method.train()
        history = []
        for _ in range(steps):
            losses = method.losses(method.encode(batch), batch.without_pixels())
            optimiser.zero_grad()
            losses.total.backward()
            optimiser.step()
            history.append(losses.total.item())
        return history

    return run
