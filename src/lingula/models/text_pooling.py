"""From token states to one vector per text: a fixed pooling with nothing to train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lingula.core.config import Config
from lingula.core.errors import UserError
from lingula.core.files import write_json
from lingula.core.types import TextFeatures, TokenMask

POOLING_FILE = "pooling.json"
WHITENING_FILE = "whitening.safetensors"


class Pooling(Config):
    """How the hidden states of a text become its features."""

    kind: Literal["mean", "cls"] = "mean"
    """Mean over all real tokens (special tokens included), or the first token."""
    layers: tuple[int, ...] = (-1,)
    """Hidden states that are pooled and concatenated: 0 is the embedding layer, -1 the last transformer layer."""
    max_tokens: int = 512
    """Longest text in tokens, special tokens included."""

    def __call__(self, hidden: tuple[Tensor, ...], mask: TokenMask) -> TextFeatures:
        """Pool in fp32.

        Args:
            hidden: Hidden states, each `batch tokens features`, embedding layer first.
            mask: `batch tokens`, True where a token is real.
        """
        if self.kind == "cls":
            return torch.cat([hidden[layer][:, 0].float() for layer in self.layers], dim=-1)
        weights = mask.float() / mask.sum(dim=1, keepdim=True).clamp_min(1)
        return torch.cat([torch.einsum("bt,btf->bf", weights, hidden[layer].float()) for layer in self.layers], dim=-1)


class Whitening(nn.Module):
    """A fixed affine map that makes pooled features centred, decorrelated and of equal spread; never trained by gradient.

    z = (x - mean) V diag((l + floor · mean(l))^-1/2), with l, V the eigenvalues and eigenvectors of the covariance.
    It takes away the large component that all texts share (Su et al. 2021, arXiv 2103.15316, with a floor on l so that
    directions which hold only noise are not blown up).

    Args:
        mean: `features`.
        matrix: `features whitened`.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("matrix", matrix.float())

    @classmethod
    def fit(cls, features: TextFeatures, floor: float = 0.01) -> Whitening:
        """Compute the map from pooled features, in fp64.

        Args:
            features: `texts features`, at least two texts.
            floor: Share of the mean variance that is added to the variance of every direction.
        """
        values = features.double()
        mean = values.mean(dim=0)
        centred = values - mean
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(values))
        variances = variances.clamp_min(0)
        scale = (variances + floor * variances.mean().clamp_min(1e-12)).rsqrt()
        return cls(mean, directions * scale)

    def forward(self, features: TextFeatures) -> TextFeatures:
        """Whiten `batch features`, in fp32."""
        with torch.autocast(features.device.type, enabled=False):
            return (features.float() - self.mean) @ self.matrix


def save_pooling(folder: Path, pooling: Pooling, whitening: Whitening | None) -> None:
    """Write the pooling, and the whitening where there is one, beside the weights."""
    write_json(folder / POOLING_FILE, pooling.model_dump(mode="json") | {"whitening": whitening is not None})
    if whitening is not None:
        save_file({"mean": whitening.mean.contiguous(), "matrix": whitening.matrix.contiguous()}, folder / WHITENING_FILE)


def load_pooling(folder: Path) -> tuple[Pooling, Whitening | None] | None:
    """Read what `save_pooling` wrote; None for a folder that holds a plain Hugging Face model.

    Raises:
        UserError: The files are there but broken.
    """
    path = folder / POOLING_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        whitened = values.pop("whitening")
        tensors = load_file(folder / WHITENING_FILE) if whitened else {}
        whitening = Whitening(tensors["mean"], tensors["matrix"]) if whitened else None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path} or its whitening cannot be read ({error})", "Save the text encoder again.") from error
    return Pooling.from_values(values, str(path)), whitening
