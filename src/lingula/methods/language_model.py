"""A small BERT trained in seconds by masked language modelling on the reports at hand (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lingula.core.errors import UserError
from lingula.core.progress import ProgressBar
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling, Whitening

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PADDING, UNKNOWN, CLS, SEPARATOR, MASK = range(len(SPECIAL))
POOLED_LAYERS = (0, -1)
IGNORED = -100
OFF=True
LOSS=[]


def train_language_model(
    texts: Sequence[str], config: SmallLanguageModelConfig, seed: int, progress: bool = True
) -> TextEncoder:
    """Train a WordPiece vocabulary and a small BERT on texts; the same texts, seed and machine give the same weights.

    Masked language modelling trains no sentence vector: [CLS] stays as it was initialised, and pooled states share one
    large component. So the features are the mean over tokens of the first and last hidden states, whitened by the fixed
    statistics of the training texts.

    Args:
        texts: Reports, and their sentences where single sentences will be asked for; duplicates are ignored.
        config: Sizes and schedule.
        seed: Decides initial weights, order and masks.
        progress: Show a progress bar.

    Returns:
        A frozen encoder on the CPU.

    Raises:
        UserError: There are fewer than two distinct texts, or the width is no multiple of the heads.
    """
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(distinct) < 2:
        raise UserError(f"a language model needs at least two distinct texts, there are {len(distinct)}", "Add reports.")
    if config.width % config.heads:
        raise UserError(f"text width {config.width} is no multiple of {config.heads} heads", "Change width or heads.")
    tokeniser = train_tokeniser(distinct, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _small_bert(len(tokeniser), config)
    encoder = TextEncoder(model.bert, tokeniser, Pooling(layers=POOLED_LAYERS, max_tokens=config.max_tokens))
    ids = encoder.token_ids(distinct)
    _train(model, encoder, ids, config, seed, progress)
    encoder.whitening = _fit_whitening(encoder, ids, config, seed)
    encoder.requires_grad_(False)
    return encoder.eval()


def train_tokeniser(texts: Sequence[str], config: SmallLanguageModelConfig) -> Any:
    """Train a lower-case WordPiece tokeniser (a transformers fast tokeniser) on texts; deterministic."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=config.vocabulary, special_tokens=list(SPECIAL), show_progress=False)
    backend.train_from_iterator(texts, trainer)
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


def _train(
    model: Any, encoder: TextEncoder, ids: list[list[int]], config: SmallLanguageModelConfig, seed: int, progress: bool
) -> None:
    LOSS.clear()
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(True).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config.steps))
    batches = _batches([len(row) for row in ids], config.batch_tokens, seed)
    with ProgressBar("Training the language model", config.steps) as bar:
        for _ in range(config.steps):
            tokens = encoder.pad([ids[row] for row in next(batches)])
            masked, targets = mask_tokens(tokens.ids, model.config.vocab_size, config.masked_share, generator)
            offset = int(torch.randint(config.max_tokens - masked.shape[1] + 1, (), generator=generator)) if OFF else 0
            positions = torch.arange(offset, offset + masked.shape[1])[None]
            with torch.autocast("cpu", torch.bfloat16):
                hidden = model.bert(input_ids=masked, attention_mask=tokens.mask.long(), position_ids=positions)[0]
                asked = targets != IGNORED
                logits = model.cls(hidden[asked])
            loss = F.cross_entropy(logits.float(), targets[asked], reduction="sum") / asked.sum().clamp_min(1)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            LOSS.append(loss.item())
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


def _fit_whitening(encoder: TextEncoder, ids: list[list[int]], config: SmallLanguageModelConfig, seed: int) -> Whitening:
    rows = np.random.default_rng(seed).permutation(len(ids))[: config.whitening_texts].tolist()
    rows.sort(key=lambda row: len(ids[row]))
    encoder.requires_grad_(False).eval()
    with torch.inference_mode():
        pooled = [encoder(encoder.pad([ids[row] for row in rows[start : start + 64]])) for start in range(0, len(rows), 64)]
    return Whitening.fit(torch.cat(pooled))
