"""From token states to one vector per text: a fixed pooling with nothing to train."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lingula.core.config import Config
from lingula.core.errors import UserError
from lingula.core.files import write_json
from lingula.core.types import TextFeatures
from lingula.models.text_recipes import PoolingKind

POOLING_FILE = "pooling.json"
STATISTICS_FILE = "pooling.safetensors"


class Pooling(Config):
    """How the hidden states of a text become its features."""

    kind: PoolingKind = "mean"
    """Mean over all real tokens (special tokens included, unless token weights say otherwise), or the first token, which a
    projection head may follow."""
    layers: tuple[int, ...] = (-1,)
    """Hidden states that are pooled and concatenated: 0 is the embedding layer, -1 the last transformer layer."""
    max_tokens: int = 512
    """Longest text in tokens, special tokens included."""

    def __call__(self, hidden: tuple[Tensor, ...], weights: Float[Tensor, "batch tokens"]) -> TextFeatures:
        """Pool in fp32; float64 stays float64.

        Args:
            hidden: Hidden states, each `batch tokens features`, embedding layer first.
            weights: `batch tokens`, 0 for padding; only their ratios within a text matter.
        """
        states = [_full_precision(hidden[layer]) for layer in self.layers]
        if self.kind != "mean":
            return torch.cat([state[:, 0] for state in states], dim=-1)
        shares = weights.to(states[0].dtype) / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)
        return torch.cat([(shares[..., None] * state).sum(dim=1) for state in states], dim=-1)


def _full_precision(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


class Statistics(nn.Module):
    """Fixed statistics of training texts that pooling uses; never trained by gradient.

    Tokens are weighed by a / (a + p), p the share of the token among all tokens of the training texts (Arora et al. 2017,
    "A simple but tough-to-beat baseline for sentence embeddings"), pieces that no training text has by 0. Features are
    standardised, z = (x - mean) · scale: without it they share one large component and all texts look alike.

    Args:
        token_weights: `vocabulary`.
        mean: `features`, of the pooled features.
        scale: `features`, one over their standard deviation.
    """

    token_weights: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, token_weights: Tensor, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("token_weights", token_weights.float())
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", scale.float())

    def forward(self, features: TextFeatures) -> TextFeatures:
        """Standardise `batch features`."""
        return (features - self.mean) * self.scale


def inverse_frequency(ids: Sequence[Sequence[int]], vocabulary: int, special: int) -> Tensor:
    """Return log(texts / texts with the token) of each token, `vocabulary`; 0 for special tokens and for those in no text.

    Args:
        ids: Token numbers of each text.
        vocabulary: Number of tokens.
        special: How many special tokens stand first in the vocabulary.
    """
    found = torch.tensor([number for row in ids for number in set(row)], dtype=torch.long)
    counts = torch.bincount(found, minlength=vocabulary).double()
    counts[:special] = 0
    return torch.where(counts > 0, (len(ids) / counts.clamp_min(1)).log().clamp_min(0.01), 0.0).float()


def standardisation(features: TextFeatures, floor: float = 0.01) -> tuple[Tensor, Tensor]:
    """Return mean and scale of pooled features, `features` each, computed in fp64.

    Args:
        features: `texts features`.
        floor: Share of the mean variance that is added to every variance, so that constant features are not blown up.
    """
    variance, mean = torch.var_mean(features.double(), dim=0, correction=0)
    return mean.float(), (variance + floor * variance.mean().clamp_min(1e-12)).rsqrt().float()


def save_pooling(folder: Path, pooling: Pooling, statistics: Statistics | None) -> None:
    """Write the pooling, and its statistics where there are any, beside the weights."""
    write_json(folder / POOLING_FILE, pooling.model_dump(mode="json") | {"statistics": statistics is not None})
    if statistics is not None:
        tensors = {name: value.contiguous() for name, value in statistics.state_dict().items()}
        save_file(tensors, folder / STATISTICS_FILE)


def load_pooling(folder: Path) -> tuple[Pooling, Statistics | None] | None:
    """Read what `save_pooling` wrote; None for a folder that holds a plain Hugging Face model.

    Raises:
        UserError: The files are there but broken.
    """
    path = folder / POOLING_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        statistics = Statistics(**load_file(folder / STATISTICS_FILE)) if values.pop("statistics") else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise UserError(f"{path} or {STATISTICS_FILE} cannot be read ({error})", "Save the text encoder again.") from error
    return Pooling.from_values(values, str(path)), statistics
