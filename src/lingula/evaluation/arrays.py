"""Every array of the evaluation, named once, with its axes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

Numbers: TypeAlias = Float[np.ndarray, "..."]
Scores: TypeAlias = Float[np.ndarray, "images"]
Targets: TypeAlias = Float[np.ndarray, "images"]
"""1 present, 0 absent, NaN unknown."""
Positive: TypeAlias = Bool[np.ndarray, "images"]
Weights: TypeAlias = Float[np.ndarray, "resamples images"]
"""How much each image counts in each resample."""
PerResample: TypeAlias = Float[np.ndarray, "resamples"]
PerQuery: TypeAlias = Float[np.ndarray, "queries"]
PerFinding: TypeAlias = Float[np.ndarray, "findings"]
Statistics: TypeAlias = Float[np.ndarray, "resamples numbers"]

ImageScores: TypeAlias = Float[np.ndarray, "images findings"]
ImageTargets: TypeAlias = Float[np.ndarray, "images findings"]
UnitScores: TypeAlias = Float[np.ndarray, "units images findings"]
"""Units are fits: random draws and folds; NaN where a unit does not score an image."""

EncodedFeatures: TypeAlias = Float[np.ndarray, "images features"]
"""Pooled image features before projection."""
EncodedLatents: TypeAlias = Float[np.ndarray, "images latent"]
"""L2-normalised latents; no columns for a model without text."""
TextLatents: TypeAlias = Float[np.ndarray, "texts latent"]
FindingLatents: TypeAlias = Float[np.ndarray, "findings latent"]
Latent: TypeAlias = Float[np.ndarray, "latent"]

DenseLatents: TypeAlias = Float[np.ndarray, "images latent rows columns"]
"""L2-normalised latents on the feature grid, comparable with those of texts."""
MeanCells: TypeAlias = Float[np.ndarray, "latent rows columns"]
"""Mean of the feature grids of several images, place by place."""
AttentionGrids: TypeAlias = Float[np.ndarray, "images heads rows columns"]
"""How much each head of an attention pooling looks at each cell of the feature grid."""
Grids: TypeAlias = Float[np.ndarray, "maps rows columns"]
"""Maps on the feature grid of what the model sees."""
HeatMaps: TypeAlias = Float[np.ndarray, "maps height width"]
"""Maps on the pixels of an image."""
HeatMap: TypeAlias = Float[np.ndarray, "height width"]

EncodedTokens: TypeAlias = Float[np.ndarray, "images tokens features"]
"""All tokens of an encoder, before projection and pooling."""

Similarity: TypeAlias = Float[np.ndarray, "queries items"]
Right: TypeAlias = Bool[np.ndarray, "queries items"]

Array: TypeAlias = np.ndarray[Any, Any]
