"""From features on a grid to maps on an image's pixels."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

from lingula.evaluation.arrays import Grids, HeatMaps, TextLatents


def phrase_grids(dense: Float[np.ndarray, "latent rows columns"], latents: TextLatents) -> Grids:
    """Return the cosine of every text with every cell of one image.

    Args:
        dense: L2-normalised latents of the cells.
        latents: `texts latent`, L2-normalised.
    """
    grids: Grids = np.einsum("tl,lrc->trc", latents, dense, optimize=True)
    return grids


def smooth_grids(grids: Grids, sigma: float) -> Grids:
    """Return maps after a Gaussian filter on the grid, mirrored at its border; 0 leaves them as they are.

    BioViL's heat-maps (arXiv 2204.09817) have 1.5.

    Args:
        grids: The maps.
        sigma: Standard deviation in cells.
    """
    if sigma == 0:
        return grids
    rows, columns = (_smoothing(length, sigma) for length in grids.shape[1:])
    smoothed: Grids = (rows @ grids @ columns.T).astype(grids.dtype)
    return smoothed


def _smoothing(length: int, sigma: float) -> Float[np.ndarray, "to from"]:
    """Return the matrix of a Gaussian filter, cut at four deviations, whose input goes on mirrored at both ends."""
    reach = int(4 * sigma + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    places = np.pad(np.arange(length), reach, mode="symmetric")
    matrix = np.zeros((length, length))
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        np.add.at(matrix, (np.arange(length), places[np.arange(length) + reach + step]), weight)
    return matrix


def place_grids(grids: Grids, height: int, width: int, crop: float = 1.0) -> HeatMaps:
    """Bring maps of what a model sees to the pixels of the image, bilinear between the cells.

    A model pads the image to a square and sees a square in its middle; what it does not see gets the nearest value.

    Args:
        grids: Maps on the feature grid.
        height: Rows of the image.
        width: Columns of the image.
        crop: Side of the square that is seen, as a share of the image's longer side.
    """
    longer = max(height, width)
    side = max(round(longer * crop), 1)
    seen = functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(grids))[None], (side, side), mode="bilinear", align_corners=False
    )[0]
    rows, columns = (
        (torch.arange(length) + (longer - length) // 2 - (longer - side) // 2).clamp(0, side - 1) for length in (height, width)
    )
    placed: HeatMaps = seen[:, rows][:, :, columns].numpy()
    return placed
