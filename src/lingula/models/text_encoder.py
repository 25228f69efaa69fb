"""The language model that reads reports: a transformer, its tokeniser and a fixed pooling."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn

from lingula.core.batch import Tokens
from lingula.core.errors import UserError
from lingula.core.files import sha256_of, share
from lingula.core.types import TextFeatures
from lingula.models.cxr_bert import is_cxr_bert, load_cxr_bert
from lingula.models.hub import find_model
from lingula.models.quiet import quiet_transformers
from lingula.models.text_config import TextEncoderConfig
from lingula.models.text_pooling import Pooling, Statistics, load_pooling, save_pooling
from lingula.models.text_projection import ProjectionHead, load_projection, save_projection
from lingula.models.text_recipes import RECIPES, pinned_revision

TOKENISER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
UNUSED_HEADS = ("pooler.", "cls.", "lm_head.")
"""Parts that the pooling never reads; checkpoints may lack them."""


class TextEncoder(nn.Module):
    """A transformer with its tokeniser and a fixed pooling; nothing but the transformer can be trained.

    Args:
        model: A transformers encoder that returns hidden states.
        tokeniser: A fast transformers tokeniser.
        pooling: How hidden states become one vector.
        statistics: Fixed token weights and standardisation, or None for a plain pooling.
        projection: The head behind the first token, for the pooling `projection`.
        frozen: No gradients, and evaluation mode whatever `train()` says, so that dropout never disturbs the targets.
    """

    other_forwards = ("token_states",)
    """Methods besides `forward` that training calls."""

    def __init__(
        self,
        model: nn.Module,
        tokeniser: Any,
        pooling: Pooling,
        statistics: Statistics | None = None,
        frozen: bool = True,
        projection: ProjectionHead | None = None,
    ) -> None:
        super().__init__()
        self.model, self.tokeniser, self.statistics, self.frozen = model, tokeniser, statistics, frozen
        self.projection = projection
        limits = [pooling.max_tokens, tokeniser.model_max_length, _position_limit(model)]
        self.pooling = pooling.model_copy(update={"max_tokens": int(min(limits))})
        self.seen, self.cut = 0, 0
        self._warned = False
        self._padding_id: int = tokeniser.pad_token_id or 0
        self.drops_out, self.pads_to_max = True, False
        self.requires_grad_(not frozen)
        self.train(not frozen)

    def train_partly(self, frozen_layers: int, frozen_embeddings: bool, dropout: bool) -> Self:
        """Keep the lowest layers of a trained encoder as they are, and its dropout off where asked for; in place.

        Args:
            frozen_layers: How many transformer layers, from below.
            frozen_embeddings: Whether the token embeddings stay too.
            dropout: Whether training mode drops out.

        Raises:
            UserError: The encoder has fewer layers.
        """
        layers = list(getattr(getattr(self.model, "encoder", None), "layer", []))
        if frozen_layers > len(layers):
            problem = f"text_encoder.frozen_layers is {frozen_layers}, but the text encoder has {len(layers)} transformer layers"
            raise UserError(problem, "Lower it.")
        for layer in layers[:frozen_layers]:
            layer.requires_grad_(False)
        if frozen_embeddings:
            self.model.embeddings.requires_grad_(False)
        self.drops_out = dropout
        return self.train(self.training)

    @property
    def dimension(self) -> int:
        """Number of text features."""
        if self.projection is not None:
            return self.projection.dimension
        return int(self.model.config.hidden_size) * len(self.pooling.layers)  # type: ignore[union-attr,arg-type]

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special tokens included."""
        return self.pooling.max_tokens

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation mode; one that is frozen or does not drop out stays in evaluation mode."""
        return super().train(mode and not self.frozen and self.drops_out)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token numbers of each text, cut to `max_tokens`; counts in `seen` and `cut` how many were cut."""
        backend = self.tokeniser.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(self.max_tokens)
        encodings = backend.encode_batch_fast(list(texts))
        self.seen += len(encodings)
        self.cut += sum(bool(encoding.overflowing) for encoding in encodings)
        return [encoding.ids for encoding in encodings]

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Tokenise texts, cut to `max_tokens` (warns once, with the share) and padded to the longest; on the CPU."""
        tokens = self.pad(self.token_ids(texts))
        self.warn_of_cut_texts()
        return tokens

    def pad(self, ids: Sequence[Sequence[int]]) -> Tokens:
        """Pad lists of token numbers to the longest of them, or to `max_tokens` where `pads_to_max`."""
        lengths = torch.tensor([len(row) for row in ids], dtype=torch.long)
        longest = max(int(lengths.max()), 1) if len(ids) else 1
        mask = torch.arange(self.max_tokens if self.pads_to_max else longest) < lengths[:, None]
        padded = torch.full(mask.shape, self._padding_id, dtype=torch.long)
        padded[mask] = torch.tensor([number for row in ids for number in row], dtype=torch.long)
        return Tokens(padded, mask)

    def warn_of_cut_texts(self) -> None:
        """Warn, once per encoder, with the percentage of texts so far that were longer than `max_tokens`."""
        if self.cut and not self._warned:
            self._warned = True
            share = 100 * self.cut / self.seen
            message = f"{self.cut} of {self.seen} texts ({share:.1f} %) are longer than {self.max_tokens} tokens and were cut"
            warnings.warn(message, stacklevel=3)

    def forward(self, tokens: Tokens, states: bool = False) -> TextFeatures:
        """Encode tokenised texts.

        Args:
            tokens: What `tokenise` gives.
            states: Give the last hidden states instead, `batch tokens features`.

        Returns:
            `batch text_features`, fp32; without gradient where the encoder is frozen.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if states:
                last: Tensor = self.model(input_ids=tokens.ids, attention_mask=tokens.mask.long()).last_hidden_state
                return last
            output = self.model(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True)
            hidden = output.hidden_states or (output.last_hidden_state,)
            if self.statistics is None:
                pooled = self.pooling(hidden, tokens.mask)
                return pooled if self.projection is None else self.projection(pooled)
            weights = self.statistics.token_weights[tokens.ids] * tokens.mask
            features: TextFeatures = self.statistics(self.pooling(hidden, weights))
            return features

    def token_states(self, tokens: Tokens) -> Float[Tensor, "batch tokens features"]:
        """Return the last hidden state of every token, padding included, in the precision it was computed in."""
        states: Tensor = self(tokens, states=True)
        return states

    def fingerprint(self) -> str:
        """Return a SHA-256 of everything that decides the features: weights, tokeniser, pooling and its statistics, length."""
        backend = self.tokeniser.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        parts: list[str | bytes] = [backend.to_str(), self.pooling.model_dump_json()]
        for name, value in sorted(self.state_dict().items()):
            parts += [name, str(value.dtype), str(tuple(value.shape)), _bytes_of(value)]
        return sha256_of(*parts)

    def save(self, folder: Path) -> None:
        """Write a folder in Hugging Face layout plus `pooling.json`; `load_text_encoder` and transformers read it."""
        with quiet_transformers():
            self.model.save_pretrained(folder)  # type: ignore[operator]
        self.tokeniser.backend_tokenizer.no_truncation()
        self.tokeniser.backend_tokenizer.no_padding()
        self.tokeniser.save_pretrained(folder)
        save_pooling(folder, self.pooling, self.statistics)
        if self.projection is not None:
            save_projection(folder, self.projection)
        for weights in folder.glob("*.safetensors"):
            share(weights)


def load_text_encoder(source: TextEncoderConfig | Path | str) -> TextEncoder:
    """Load a text encoder with its trained weights; weights that are not there are an error, never random numbers.

    Args:
        source: A configuration, or the folder that `TextEncoder.save` wrote.

    Raises:
        UserError: The model or a part of its weights is missing, its code is not trusted, or it contradicts the configuration.
    """
    config = source if isinstance(source, TextEncoderConfig) else TextEncoderConfig(name=str(source))
    if config.name == "small":
        raise UserError("the text encoder 'small' has no weights before it is trained", "Give a run's text encoder folder.")
    folder, recipe = find_text_folder(config), RECIPES.get(config.name)
    published = Pooling(kind=recipe.pooling if recipe else "mean", max_tokens=recipe.max_tokens if recipe else config.max_tokens)
    saved = load_pooling(folder)
    pooling, statistics = saved or (published.model_copy(update={"kind": config.pooling or published.kind}), None)
    if config.pooling is not None and pooling.kind != config.pooling:
        message = f"the text encoder {config.name} was saved with {pooling.kind} pooling, not {config.pooling}"
        raise UserError(message, f"Set text_encoder.pooling to {pooling.kind}.")
    if isinstance(source, TextEncoderConfig):
        pooling = pooling.model_copy(update={"max_tokens": min(pooling.max_tokens, config.max_tokens)})
    model, tokeniser, head = _load_pretrained(folder, config)
    if saved is not None and pooling.kind == "projection":
        head = load_projection(folder)
    if pooling.kind == "projection" and head is None:
        raise UserError(f"the text encoder {config.name} has no projection head", "Set text_encoder.pooling to mean or cls.")
    projection = head if pooling.kind == "projection" else None
    encoder = TextEncoder(model, tokeniser, pooling, statistics, config.frozen, projection)
    encoder.pads_to_max = config.padding == "max"
    if not config.frozen:
        encoder.train_partly(config.frozen_layers, config.frozen_embeddings, config.dropout)
    if recipe is not None and pooling.kind == recipe.pooling and encoder.dimension != recipe.dimension:
        message = f"{folder} gives {encoder.dimension} features, {config.name} as published {recipe.dimension}"
        raise UserError(message, "Check text_encoder.folder.")
    return encoder


def find_text_folder(config: TextEncoderConfig) -> Path:
    """Return the folder with a text encoder's files: the one given, the local hub cache's, or a download.

    Raises:
        UserError: There are no such files, or the revision of a published encoder is not known.
    """
    if config.folder is not None:
        if config.name not in RECIPES:
            remedy = f"Give the folder as text_encoder.name, or name one of {', '.join(RECIPES)}."
            raise UserError(f"text_encoder.folder is for published encoders, not for '{config.name}'", remedy)
        if not config.folder.expanduser().is_dir():
            raise UserError(f"no such model folder: {config.folder}", "Check text_encoder.folder.")
        return find_model(str(config.folder.expanduser()))
    if config.name in RECIPES:
        revision = pinned_revision(config.name, config.revision)
        return find_model(RECIPES[config.name].hub, revision, config.trust_remote_code)
    return find_model(config.name, config.revision, config.trust_remote_code)


def _load_pretrained(folder: Path, config: TextEncoderConfig) -> tuple[Any, Any, ProjectionHead | None]:
    """Load transformer, tokeniser and, where the model has one, its projection head."""
    if not any((folder / file).is_file() for file in TOKENISER_FILES):
        raise UserError(f"the model folder {folder} has no tokeniser (tokenizer.json)", "Download the complete model again.")
    model, tokeniser, head = load_cxr_bert(folder) if is_cxr_bert(folder) else (*_load_auto(folder, config), None)
    words = model.get_input_embeddings().num_embeddings
    if getattr(tokeniser, "backend_tokenizer", None) is None:
        raise UserError(f"the text encoder {config.name} has no fast tokeniser", "Add its tokenizer.json.")
    if len(tokeniser) > words:
        message = f"the tokeniser of {config.name} has {len(tokeniser)} entries, its model only {words}"
        raise UserError(message, "They do not belong together: download the complete model again.")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model, tokeniser, head


def _load_auto(folder: Path, config: TextEncoderConfig) -> tuple[Any, Any]:
    """Let transformers load a folder; its own Python code only where that is asked for."""
    from transformers import AutoModel, AutoTokenizer

    options = {"local_files_only": True, "trust_remote_code": config.trust_remote_code}
    try:
        with quiet_transformers():
            model, found = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **options)
            tokeniser = AutoTokenizer.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        own_code = "trust_remote_code" in str(error)
        remedy = "Read that code; then set text_encoder.trust_remote_code." if own_code else "Download the complete model again."
        raise UserError(f"the text encoder {config.name} cannot be loaded ({first})", remedy) from error
    missing = [name for name in found["missing_keys"] if not name.startswith(UNUSED_HEADS)]
    if missing:
        message = f"the weights of {config.name} lack {len(missing)} tensors of the model, e.g. {min(missing)}"
        raise UserError(message, "They would be random numbers: download the complete model again.")
    return model, tokeniser


def _bytes_of(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _position_limit(model: Any) -> int:
    """Return how many tokens the position embeddings allow (RoBERTa-like models lose those up to the padding index)."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if isinstance(table, nn.Embedding):
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    return int(getattr(model.config, "max_position_embeddings", 1 << 30))
