"""A small BERT trained on the reports at hand: vocabulary, masked language modelling, then a sentence-level objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lingula.core.errors import UserError
from lingula.methods.masked_language_model import train_masked
from lingula.methods.sentence_matching import Pairs, TextPair, train_matching, train_words
from lingula.methods.text_descent import Note
from lingula.methods.tokeniser import PADDING, SPECIAL, train_tokeniser
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling, Statistics, inverse_frequency, standardisation

NEIGHBOURS = (-1, 1, -2, 2)
"""Relative position that each attention head looks at before training."""


def pooled_layers(config: SmallLanguageModelConfig) -> tuple[int, ...]:
    """Return the hidden states that are pooled: word embeddings carry what a text is about, the last layer what is said of it."""
    return (0, -1) if config.layers else (0,)


def _forget(step: int, values: Mapping[str, float]) -> None:
    """Keep nothing of what is measured."""


def train_language_model(
    texts: Sequence[str],
    config: SmallLanguageModelConfig,
    seed: int,
    progress: bool = True,
    pairs: Sequence[TextPair] = (),
    note: Note = _forget,
) -> TextEncoder:
    """Train a WordPiece vocabulary and a small BERT on texts; the same texts, pairs, seed and machine give the same weights.

    Masked language modelling alone has three defects that matter here. It needs thousands of steps before heads find their
    neighbours: heads begin looking at them. It gives words that replace each other (two findings) the same embedding:
    word embeddings start from, and in this phase keep, those of latent semantic analysis, where words of the same reports are
    alike. And it trains no sentence vector: features are the weighted, standardised mean over tokens of the first and last
    hidden states, and pairs of texts train it to tell reports apart.

    Args:
        texts: Reports, and their sentences where single sentences will be asked for; duplicates are ignored.
        config: Sizes and schedule.
        seed: Decides initial weights, order, masks and dropout.
        progress: Show a progress bar.
        pairs: Texts that belong together; used where `config.sentence_steps` is above 0.
        note: Told the losses of every step.

    Returns:
        A frozen encoder on the CPU.

    Raises:
        UserError: There are fewer than two distinct texts (or pairs), or the width is no even multiple of the heads.
    """
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(distinct) < 2:
        raise UserError(f"a language model needs at least two distinct texts, there are {len(distinct)}", "Add reports.")
    if config.layers and config.width % (2 * config.heads):
        raise UserError(f"text width {config.width} is no even multiple of {config.heads} heads", "Change width or heads.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train_encoder(distinct, config, seed, progress, pairs, note)
    finally:
        torch.set_num_threads(threads)


def _train_encoder(
    texts: list[str], config: SmallLanguageModelConfig, seed: int, progress: bool, pairs: Sequence[TextPair], note: Note
) -> TextEncoder:
    """Train on one thread: matrices this small gain little from two, lose much on a busy machine, and sum in one order."""
    tokeniser = train_tokeniser(texts, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _small_bert(len(tokeniser), config)
    encoder = TextEncoder(model.bert, tokeniser, Pooling(layers=pooled_layers(config), max_tokens=config.max_tokens))
    ids = encoder.token_ids(texts)
    matched = Pairs(pairs, encoder.token_ids, config.sentence_tokens) if pairs and config.needs_pairs else None
    words = semantic_embeddings(ids, len(tokeniser), config.width - _position_features(config), seed)
    weights = inverse_frequency(ids, len(tokeniser), len(SPECIAL))
    if config.word_steps and matched:
        words, weights = train_words(words, weights, matched, config, seed, progress, note)
    _expect_frequent_words(model, ids)
    _start_well(model.bert, words)
    done = config.word_steps
    if config.steps and config.layers:
        train_masked(model, encoder, ids, config, seed, progress, _after(done, note))
    encoder = TextEncoder(model.bert, tokeniser, encoder.pooling, _statistics(encoder, ids, weights, config, seed))
    if config.sentence_steps and config.layers and matched:
        train_matching(encoder, matched, config, seed, progress, _after(done + config.steps, note))
        encoder.statistics = _statistics(encoder, ids, weights, config, seed)
    return encoder


def _position_features(config: SmallLanguageModelConfig) -> int:
    """Features of the first hidden state that hold positions, as many as one head is wide; none where no head reads them."""
    return config.width // config.heads if config.layers else 0


def _after(done: int, note: Note) -> Note:
    """Count steps from those that earlier phases have done."""
    return lambda step, values: note(done + step, values)


def _small_bert(vocabulary: int, config: SmallLanguageModelConfig) -> Any:
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": config.width, "num_hidden_layers": config.layers, "num_attention_heads": config.heads}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForMaskedLM(
        BertConfig(
            vocab_size=vocabulary,
            intermediate_size=4 * config.width,
            max_position_embeddings=config.max_tokens,
            type_vocab_size=2,
            pad_token_id=PADDING,
            attn_implementation="eager",
            **sizes,
            **no_dropout,
        )
    )


def semantic_embeddings(ids: Sequence[Sequence[int]], vocabulary: int, dimension: int, seed: int) -> Tensor:
    """Return word embeddings by latent semantic analysis: a truncated SVD of the TF-IDF matrix of texts and tokens.

    Args:
        ids: Token numbers of each text.
        vocabulary: Number of word pieces.
        dimension: Number of singular vectors; directions beyond the rank are zero.
        seed: Seed of the randomised SVD.

    Returns:
        `vocabulary dimension`, rows of unit length, zero for special tokens and for those in no text.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = [[str(number) for number in row if number >= len(SPECIAL)] for row in ids]
    vectoriser = TfidfVectorizer(
        analyzer=list, vocabulary={str(number): number for number in range(vocabulary)}, sublinear_tf=True
    )
    matrix = vectoriser.fit_transform(words)
    components = min(dimension, vocabulary - 1, len(words))
    svd = TruncatedSVD(components, random_state=seed % 2**32).fit(matrix)
    embeddings = torch.zeros(vocabulary, dimension)
    embeddings[:, :components] = torch.from_numpy(svd.components_.T * svd.singular_values_).float()
    lengths = embeddings.norm(dim=1, keepdim=True)
    return torch.where(lengths > 1e-4 * lengths.max(), embeddings / lengths.clamp_min(1e-12), 0.0)


def _expect_frequent_words(model: Any, ids: list[list[int]]) -> None:
    """Begin with the frequency of each token as output bias, and with sharp logits: few steps could not learn either."""
    counts = torch.bincount(torch.tensor([number for row in ids for number in row]), minlength=model.config.vocab_size)
    counts[: len(SPECIAL)] = 0
    shares = (counts + 0.1) / (counts.sum() + 0.1 * len(counts))
    with torch.no_grad():
        model.cls.predictions.decoder.bias.copy_(shares.log() - shares.log().mean())
        model.cls.predictions.transform.LayerNorm.weight.fill_(3.0)


def _start_well(bert: Any, semantics: Tensor) -> None:
    """Set semantic word embeddings, sinusoidal positions, and heads that attend to their neighbours.

    The first features of the hidden state hold positions, as many as one head is wide; the others hold words. With queries
    p R(k) and keys p, where R(k) rotates the code of position i to that of i + k, the score peaks k tokens away.
    """
    width = semantics.shape[1]
    size = bert.config.hidden_size - width
    rates = torch.exp(-np.log(1000.0) * torch.arange(0, size, 2) / max(size, 1))
    angles = torch.arange(bert.config.max_position_embeddings)[:, None] * rates
    with torch.no_grad():
        embeddings = bert.embeddings
        embeddings.word_embeddings.weight[:, :size] = 0
        embeddings.word_embeddings.weight[len(SPECIAL) :, size:] = semantics[len(SPECIAL) :] * (0.05 * width**0.5)
        embeddings.token_type_embeddings.weight.zero_()
        embeddings.position_embeddings.weight.zero_()
        if not size:
            return
        embeddings.position_embeddings.weight[:, :size] = 0.1 * torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        for layer in bert.encoder.layer:
            attention = layer.attention.self
            for head in range(bert.config.num_attention_heads):
                rows = slice(head * size, (head + 1) * size)
                attention.query.weight[rows] *= 0.2
                attention.key.weight[rows] *= 0.2
                attention.query.weight[rows, :size] += 1.5 * _rotation(rates * NEIGHBOURS[head % len(NEIGHBOURS)])
                attention.key.weight[rows, :size] += 1.5 * torch.eye(size)


def _rotation(angles: Tensor) -> Tensor:
    """Return the matrix that turns (sin x, cos x) of each frequency into (sin(x + angle), cos(x + angle))."""
    cos, sin = angles.cos(), angles.sin()
    rotation: Tensor = torch.block_diag(*torch.stack([cos, sin, -sin, cos], dim=-1).reshape(-1, 2, 2))  # type: ignore[no-untyped-call]
    return rotation


def _statistics(
    encoder: TextEncoder, ids: list[list[int]], weights: Tensor, config: SmallLanguageModelConfig, seed: int
) -> Statistics:
    """Measure mean and spread of the pooled features on some texts; positions, which say nothing, get a scale of 0."""
    width = encoder.dimension
    encoder.statistics = Statistics(weights, torch.zeros(width), torch.ones(width))
    encoder.requires_grad_(False).eval()
    rows = np.random.default_rng(seed).permutation(len(ids))[: config.standardisation_texts].tolist()
    rows.sort(key=lambda row: len(ids[row]))
    with torch.no_grad():
        pooled = [encoder(encoder.pad([ids[row] for row in rows[start : start + 64]])) for start in range(0, len(rows), 64)]
    mean, scale = standardisation(torch.cat(pooled))
    scale[: _position_features(config)] = 0
    return Statistics(weights, mean, scale)
