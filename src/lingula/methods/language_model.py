"""A small BERT trained in seconds by masked language modelling on the reports at hand (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.methods.wordpiece import train_vocabulary
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder, multiplies_fast_in_bf16
from lingula.models.text_pooling import Pooling, Statistics, standardisation, token_weights

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PADDING, UNKNOWN, CLS, SEPARATOR, MASK = range(len(SPECIAL))
POOLED_LAYERS = (0, -1)
"""Word embeddings carry what a text is about, the last layer what is said of it."""
NEIGHBOURS = (-1, 1, -2, 2)
"""Relative position that each attention head looks at before training."""
IGNORED = -100


def train_language_model(texts: Sequence[str], config: SmallLanguageModelConfig, seed: int, progress: bool = True) -> TextEncoder:
    """Train a WordPiece vocabulary and a small BERT on texts; the same texts, seed and machine give the same weights.

    Masked language modelling alone has three defects that matter here. It needs thousands of steps before heads find their
    neighbours: heads begin looking at them. It gives words that replace each other (two findings) the same embedding:
    word embeddings are fixed to those of latent semantic analysis, where words of the same reports are alike. And it
    trains no sentence vector: features are the weighted, standardised mean over tokens of the first and last hidden states.

    Args:
        texts: Reports, and their sentences where single sentences will be asked for; duplicates are ignored.
        config: Sizes and schedule.
        seed: Decides initial weights, order and masks.
        progress: Show a progress bar.

    Returns:
        A frozen encoder on the CPU.

    Raises:
        UserError: There are fewer than two distinct texts, or the width is no even multiple of the heads.
    """
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(distinct) < 2:
        raise UserError(f"a language model needs at least two distinct texts, there are {len(distinct)}", "Add reports.")
    if config.width % (2 * config.heads):
        raise UserError(f"text width {config.width} is no even multiple of {config.heads} heads", "Change width or heads.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train_encoder(distinct, config, seed, progress)
    finally:
        torch.set_num_threads(threads)


def _train_encoder(texts: list[str], config: SmallLanguageModelConfig, seed: int, progress: bool) -> TextEncoder:
    """Train on one thread: matrices this small gain little from two, lose much on a busy machine, and sum in one order."""
    tokeniser = train_tokeniser(texts, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _small_bert(len(tokeniser), config)
    encoder = TextEncoder(model.bert, tokeniser, Pooling(layers=POOLED_LAYERS, max_tokens=config.max_tokens))
    ids = encoder.token_ids(texts)
    _expect_frequent_words(model, ids)
    _start_well(model.bert, semantic_embeddings(ids, len(tokeniser), config.width - config.width // config.heads, seed))
    _train(model, encoder, ids, config, seed, progress)
    return TextEncoder(model.bert, tokeniser, encoder.pooling, _statistics(encoder, ids, config, seed))


def train_tokeniser(texts: Sequence[str], config: SmallLanguageModelConfig) -> Any:
    """Train a lower-case WordPiece tokeniser (a transformers fast tokeniser) on texts; deterministic."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normaliser, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    lines = (normaliser.normalize_str(text) for text in texts)
    words = Counter(word for line in lines for word, _ in splitter.pre_tokenize_str(line))
    vocabulary = train_vocabulary(words, config.vocabulary, SPECIAL)
    numbers = {piece: number for number, piece in enumerate(vocabulary)}
    backend = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normaliser, splitter
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(list(SPECIAL))
    ends = [("[CLS]", CLS), ("[SEP]", SEPARATOR)]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=config.max_tokens, **names)


def mask_tokens(ids: Tensor, vocabulary: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hide tokens: of those chosen, 80 % become [MASK], 10 % a random token, 10 % stay.

    Args:
        ids: `batch tokens`; special tokens are never chosen.
        vocabulary: Number of word pieces.
        share: Share of the tokens that is chosen.
        generator: Source of randomness.

    Returns:
        The masked ids, and the targets with -100 where nothing is asked, both `batch tokens`.
    """
    chosen = (torch.rand(ids.shape, generator=generator) < share) & (ids >= len(SPECIAL))
    fate = torch.rand(ids.shape, generator=generator)
    noise = torch.randint(len(SPECIAL), max(vocabulary, len(SPECIAL) + 1), ids.shape, generator=generator)
    masked = torch.where(chosen & (fate < 0.8), torch.full_like(ids, MASK), ids)
    masked = torch.where(chosen & (fate >= 0.9), noise, masked)
    return masked, torch.where(chosen, ids, torch.full_like(ids, IGNORED))


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
    rates = torch.exp(-np.log(1000.0) * torch.arange(0, size, 2) / size)
    angles = torch.arange(bert.config.max_position_embeddings)[:, None] * rates
    with torch.no_grad():
        embeddings = bert.embeddings
        embeddings.word_embeddings.weight[:, :size] = 0
        embeddings.word_embeddings.weight[len(SPECIAL) :, size:] = semantics[len(SPECIAL) :] * (0.05 * width**0.5)
        embeddings.token_type_embeddings.weight.zero_()
        embeddings.position_embeddings.weight.zero_()
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


def _train(
    model: Any, encoder: TextEncoder, ids: list[list[int]], config: SmallLanguageModelConfig, seed: int, progress: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(True).train()
    model.bert.embeddings.word_embeddings.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    fast = multiplies_fast_in_bf16(encoder.device)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config.steps))
    batches = _batches([len(row) for row in ids], config.batch_tokens, seed)
    with ProgressBar("Training the language model", config.steps, hidden=not progress) as bar:
        for _ in range(config.steps):
            tokens = encoder.pad([ids[row] for row in next(batches)])
            masked, targets = mask_tokens(tokens.ids, model.config.vocab_size, config.masked_share, generator)
            offset = int(torch.randint(config.max_tokens - masked.shape[1] + 1, (), generator=generator))
            positions = torch.arange(offset, offset + masked.shape[1])[None]
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                hidden = model.bert(input_ids=masked, attention_mask=tokens.mask.long(), position_ids=positions)[0]
                asked = targets != IGNORED
                logits = model.cls(hidden[asked])
            loss = cross_entropy(logits.float(), targets[asked], reduction="sum") / asked.sum().clamp_min(1)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            bar.advance()
            bar.note(f"loss {loss.item():.2f}")


def _rate(step: int, steps: int) -> float:
    warm_up = max(steps // 10, 1)
    return min((step + 1) / warm_up, (steps - step) / max(steps - warm_up, 1))


def _batches(lengths: Sequence[int], batch_tokens: int, seed: int) -> Iterator[list[int]]:
    """Yield rows for ever, epoch after epoch, in batches of similar length that hold about `batch_tokens` with padding."""
    generator = np.random.default_rng(seed)
    while True:
        noisy = np.asarray(lengths) * generator.uniform(0.9, 1.1, len(lengths))
        batches: list[list[int]] = [[]]
        longest = 0
        for row in np.argsort(noisy, kind="stable").tolist():
            longest = max(longest, lengths[row])
            if batches[-1] and longest * (len(batches[-1]) + 1) > batch_tokens:
                batches.append([])
                longest = lengths[row]
            batches[-1].append(row)
        for position in generator.permutation(len(batches)).tolist():
            yield batches[position]


def _statistics(encoder: TextEncoder, ids: list[list[int]], config: SmallLanguageModelConfig, seed: int) -> Statistics:
    """Count tokens in all texts, and measure mean and spread of the pooled features on some of them."""
    vocabulary, width = len(encoder.tokeniser), encoder.dimension
    counts = torch.bincount(torch.tensor([number for row in ids for number in row]), minlength=vocabulary)
    weights = token_weights(counts, len(SPECIAL))
    encoder.statistics = Statistics(weights, torch.zeros(width), torch.ones(width))
    encoder.requires_grad_(False).eval()
    rows = np.random.default_rng(seed).permutation(len(ids))[: config.standardisation_texts].tolist()
    rows.sort(key=lambda row: len(ids[row]))
    with torch.no_grad():
        pooled = [encoder(encoder.pad([ids[row] for row in rows[start : start + 64]])) for start in range(0, len(rows), 64)]
    return Statistics(weights, *standardisation(torch.cat(pooled)))
