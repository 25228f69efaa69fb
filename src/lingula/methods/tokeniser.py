"""A lower-case WordPiece tokeniser trained on the reports at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lingula.methods.wordpiece import train_vocabulary
from lingula.models.text_config import SmallLanguageModelConfig

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NAMES = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
"""What transformers calls them."""
PADDING, UNKNOWN, CLS, SEPARATOR, MASK = range(len(SPECIAL))


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
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=config.max_tokens, **NAMES)
