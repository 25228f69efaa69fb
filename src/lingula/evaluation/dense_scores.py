"""Scores of findings from the cells of the feature grid, in place of the pooled image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store import Store
from lingula.evaluation.arrays import AttentionGrids, DenseLatents, FindingLatents, ImageScores
from lingula.evaluation.config import DenseScores
from lingula.evaluation.encoder import GroundingEncoder
from lingula.evaluation.row_cache import blocks

CellScores: TypeAlias = Float[np.ndarray, "images directions cells"]


def dense_scores(
    encoder: GroundingEncoder,
    store: Store,
    rows: RowNumbers,
    directions: FindingLatents,
    kinds: Sequence[DenseScores],
    name: str = "model",
) -> dict[DenseScores, ImageScores]:
    """Return the products of directions with the cells of every image, aggregated over the cells, `rows directions`.

    Each image goes through the model once, whatever the number of directions and aggregations.

    Args:
        encoder: The model.
        store: The images.
        rows: Row numbers, in the order of the result.
        directions: What every cell is multiplied by: prompts, or differences of prompts.
        kinds: Aggregations.
        name: What to call the model on the progress bar.

    Raises:
        UserError: Attention is asked for and the model has none.
    """
    parts: dict[DenseScores, list[ImageScores]] = {kind: [] for kind in kinds}
    for block in blocks(rows, f"embedding images with {name}"):
        pixels = [store.pixels(int(row)) for row in block]
        attention = encoder.attention_pixels(pixels) if "dense-attention" in kinds else None
        if attention is None and "dense-attention" in kinds:
            raise UserError(f"{name} has no attention to weigh its cells with", "Leave out dense-attention, or use a g2d run.")
        cells = cell_scores(encoder.dense_pixels(pixels), directions)
        for kind in kinds:
            parts[kind].append(aggregate(cells, kind, attention))
    return {kind: np.concatenate(own) for kind, own in parts.items()}


def cell_scores(dense: DenseLatents, directions: FindingLatents) -> CellScores:
    """Return the product of every direction with every cell."""
    scores: CellScores = np.einsum("fl,ilc->ifc", directions, dense.reshape(*dense.shape[:2], -1), optimize=True)
    return scores


def aggregate(cells: CellScores, kind: DenseScores, attention: AttentionGrids | None = None) -> ImageScores:
    """Aggregate scores over the cells: the largest, the mean, or Σ a s with the attention a (meaned over heads, of sum 1).

    Args:
        cells: `images directions cells`.
        kind: Which.
        attention: On the same grid; needed for `dense-attention`. An image that nothing is attended to in counts its mean.

    Raises:
        ValueError: The attention is needed and missing.
    """
    if kind == "dense-max":
        return np.asarray(cells.max(axis=2))
    if kind == "dense-mean":
        return np.asarray(cells.mean(axis=2))
    if attention is None:
        raise ValueError("attention is needed to weigh cells with it")
    weights = attention.mean(axis=1).reshape(len(attention), -1)
    total = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, total, out=np.full_like(weights, 1 / weights.shape[1]), where=total > 0)
    return np.asarray(np.einsum("ifc,ic->if", cells, shares))
