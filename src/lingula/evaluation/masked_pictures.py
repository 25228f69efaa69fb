"""Masked-image modelling to look at: what is there, what the encoder saw of it, and what the decoder made of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lingula.core.files import atomic_file
from lingula.core.patches import chosen_patches, patches_of, volumes_of
from lingula.core.randomness import random_key
from lingula.core.types import VolumeHU, VolumeMask
from lingula.data.lettering import font, wrap
from lingula.data.volume_sheet import PLANES, Window, axes_to_ras, lay_plane
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.overlays import Colour, Picture, grey_to_rgb
from lingula.evaluation.volume_encoder import HiddenFiller
from lingula.evaluation.volume_pictures import beside
from lingula.objectives.masked_image import hidden_patches, kept_patches, masked_image_error

SIDE = 288
"""Pixels of the longest side of a plane, about."""
HIDDEN: Colour = (112, 112, 112)
"""What is drawn in place of a hidden patch."""
ROWS = ("volume", "what the encoder saw: hidden patches are grey", "visible patches as they are, hidden ones as predicted")
MARGIN, LINE, NOTE_LINES = 14, 19, 3
PAPER, INK, FAINT = (255, 255, 255), (20, 22, 26), (95, 100, 108)


@dataclass(frozen=True)
class Filled:
    """A crop of a volume whose hidden patches were filled in; axes to the right, front and head.

    Args:
        hounsfield: What is there, clamped to the range that the model sees.
        hidden: Voxels of the hidden patches.
        predicted: The same volume with what the model predicts in the hidden patches, HU.
        spacing: Voxel size, mm.
        error: Mean squared error over the hidden voxels, in the units of the training, whose range is 2.
        guess: The same for a guess, the mean of the visible voxels.
    """

    hounsfield: VolumeHU
    hidden: VolumeMask
    predicted: VolumeHU
    spacing: tuple[float, float, float]
    error: float
    guess: float


def fill_hidden(filler: HiddenFiller, store: VolumeStore, row: int, seed: int = 0) -> Filled:
    """Hide patches of the crop in the middle of a stored volume, and let the model predict them.

    Args:
        filler: The model's parts.
        store: Where the volume is.
        row: Which.
        seed: Which patches are hidden, together with the volume's name.

    Raises:
        UserError: Its file is damaged.
    """
    patch = filler.tower.backbone.config.patch
    volume = filler.crop.evaluate(store, [row]).to(next(filler.decoder.parameters()).device)
    grid = filler.tower.backbone.grid(volume)
    key = random_key(seed, store.column("row_id")[row], "picture")
    kept = kept_patches([key], math.prod(grid), filler.share, volume.device)
    hidden = hidden_patches(kept, math.prod(grid))
    with torch.inference_mode():
        predicted = filler.decoder(filler.tower.visible(volume, kept), kept, hidden, grid).float()
    there = patches_of(volume, patch)
    guessed = chosen_patches(there, kept).mean().expand_as(predicted)
    filled, unseen = there.clone(), torch.zeros_like(there, dtype=torch.bool)
    filled[0, hidden[0]], unseen[0, hidden[0]] = predicted[0], True
    axes, sides = axes_to_ras(store), store.spacing(row)

    def turned(patches: Tensor) -> np.ndarray:
        turned_: np.ndarray = volumes_of(patches, grid, patch)[0, 0].cpu().numpy().transpose(axes)
        return turned_

    low, high = filler.crop.config.hu_range
    there_hu, filled_hu = ((turned(each) + 1) * (high - low) / 2 + low for each in (there, filled))
    errors = [masked_image_error(each, volume, hidden, patch).item() for each in (predicted, guessed)]
    return Filled(there_hu, turned(unseen), filled_hu, (sides[axes[0]], sides[axes[1]], sides[axes[2]]), *errors)


def masked_planes(found: Filled, window: Window | None = None) -> list[Picture]:
    """Draw the three rows of `ROWS`: axial, coronal and sagittal planes through the middle, in true proportions.

    As radiologists look: the patient's right, in sagittal planes the front, is on the left.
    """
    window, shape, spacing = window or Window(), found.hounsfield.shape, np.array(found.spacing)
    scale = SIDE / float((np.array(shape) * spacing).max())
    rows: list[list[Picture]] = [[], [], []]
    for across, columns, lines in PLANES.values():
        size = (round(shape[columns] * spacing[columns] * scale), round(shape[lines] * spacing[lines] * scale))

        def plane(values: np.ndarray, how: Image.Resampling, cut: int = across, size: tuple[int, int] = size) -> np.ndarray:
            return np.array(Image.fromarray(lay_plane(values, cut, shape[cut] // 2)).resize(size, how))

        smooth, sharp = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
        there, predicted = (grey_to_rgb(plane(window.grey(each), smooth)) for each in (found.hounsfield, found.predicted))
        hidden = plane(found.hidden.astype(np.uint8), sharp)[..., None] > 0
        for row, picture in zip(rows, (there, np.where(hidden, np.array(HIDDEN, np.uint8), there), predicted), strict=True):
            row.append(picture)
    return [beside(row) for row in rows]


def draw_masked(found: Filled, path: Path, title: str, notes: Sequence[str] = (), window: Window | None = None) -> Path:
    """Draw the three rows with their headings as a PNG, atomically, and return its path.

    Args:
        found: What is drawn.
        path: The PNG.
        title: What volume, which model.
        notes: Lines beneath.
        window: Which Hounsfield units are black and white.
    """
    pictures = masked_planes(found, window)
    width = pictures[0].shape[1]
    heads, words = wrap(title, width, NOTE_LINES), [line for note in notes for line in wrap(note, width, NOTE_LINES)]
    height = sum(len(picture) + LINE + MARGIN for picture in pictures) + LINE * (len(heads) + len(words)) + 2 * MARGIN
    sheet = Image.new("RGB", (width + 2 * MARGIN, height), PAPER)
    pen, top = ImageDraw.Draw(sheet), MARGIN
    for line in heads:
        pen.text((MARGIN, top), line, font=font(), fill=INK)
        top += LINE
    for heading, picture in zip(ROWS, pictures, strict=True):
        pen.text((MARGIN, top), heading, font=font(), fill=FAINT)
        sheet.paste(Image.fromarray(picture), (MARGIN, top + LINE))
        top += LINE + len(picture) + MARGIN
    for line in words:
        pen.text((MARGIN, top), line, font=font(), fill=FAINT)
        top += LINE
    with atomic_file(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)
    return path
