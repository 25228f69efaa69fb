"""The text tower on language models that are at hand offline: trained here, with or without a transformer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lingula.core.errors import UserError
from lingula.methods.language_model import train_language_model
from lingula.models.text_config import SmallLanguageModelConfig, TextEncoderConfig
from lingula.models.text_encoder import load_text_encoder
from lingula.models.text_tower import TextTower

TEXTS = ["No effusion.", "A small effusion is seen.", "The heart is enlarged.", "Clear lungs, no nodule.", "A nodule is seen."]


def tower(folder: Path, layers: int) -> TextTower:
    """As a run has it: trained, saved, loaded to be trained on."""
    sizes = {"vocabulary": 80, "width": 16, "heads": 2, "max_tokens": 16, "word_steps": 0, "steps": 2, "batch_tokens": 64}
    config = SmallLanguageModelConfig(layers=layers, **sizes)
    train_language_model(TEXTS * 2, config, seed=0, progress=False).save(folder)
    encoder = load_text_encoder(TextEncoderConfig(name=str(folder), frozen=False, dropout=False))
    return TextTower(encoder, heads=4)


@pytest.mark.parametrize("layers", [0, 2])
def test_the_small_language_model_can_be_trained_along(tmp_path: Path, layers: int) -> None:
    text = tower(tmp_path, layers)
    tokens = text.tokenise(TEXTS)
    pooled = text(tokens)
    assert pooled.shape == (5, text.dimension) == (5, 16)
    assert text.words == len(text.tokeniser)
    pooled.square().sum().backward()
    assert text.encoder.model.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    assert text.pooler.attn.in_proj_weight.grad.abs().sum() > 0


@pytest.mark.parametrize("layers", [0, 2])
def test_a_text_is_pooled_from_its_own_tokens_whatever_stands_beside_it(tmp_path: Path, layers: int) -> None:
    text = tower(tmp_path, layers).eval()
    together = text(text.tokenise(TEXTS))
    alone = torch.cat([text(text.tokenise([each])) for each in TEXTS])
    torch.testing.assert_close(together, alone)
    tokens = text.tokenise(TEXTS[:1])
    states = text.encoder.token_states(tokens)
    torch.testing.assert_close(text(tokens), text.pooler(states, tokens.mask))


def test_frozen_encoders_are_refused(tmp_path: Path) -> None:
    tower(tmp_path, 0)
    with pytest.raises(UserError, match="this one is frozen"):
        TextTower(load_text_encoder(tmp_path), heads=4)
