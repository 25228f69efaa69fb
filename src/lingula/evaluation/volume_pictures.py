"""Three planes of a CT volume for the page, with what is true and what a model says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from lingula.core.types import RowNumbers, VolumeMask
from lingula.data.volume_sheet import PLANES, Window, axes_to_ras, lay_plane
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import PerFinding
from lingula.evaluation.overlays import PREDICTION, TRUTH, draw_contour, draw_mask, grey_to_rgb
from lingula.evaluation.pictures import Picture
from lingula.evaluation.segmentation_pictures import choose_images
from lingula.evaluation.volume_segmenter import VolumeSegmenter, WholeVolumes
from lingula.evaluation.volume_truth import VolumeTruth

SIDE = 300
"""Pixels of the longest side that a plane may have."""
GAP = 6


def draw_planes(
    store: VolumeStore, row: int, at: Sequence[int] | None = None, masks: tuple[VolumeMask, VolumeMask] | None = None
) -> np.ndarray:
    """Draw axial, coronal and sagittal planes of a stored volume beside each other, RGB `height width 3`, in true proportions.

    As radiologists look: the patient's right, in sagittal planes the front, is on the left.

    Args:
        store: Where the volume is.
        row: Which.
        at: The voxel, in the store's axes, that the planes go through; None: the middle.
        masks: What is true (green contour) and what is predicted (red), in the store's axes.
    """
    axes = axes_to_ras(store)
    hounsfield = store.volume(row).voxels.transpose(axes)
    spacing = np.array(store.spacing(row))[list(axes)]
    centre = [side // 2 for side in hounsfield.shape] if at is None else [int(at[axis]) for axis in axes]
    scale = SIDE / float((np.array(hounsfield.shape) * spacing).max())
    grey, drawn = Window().grey(hounsfield), []
    for across, columns, rows in PLANES.values():
        size = tuple(max(1, round(hounsfield.shape[axis] * spacing[axis] * scale)) for axis in (columns, rows))
        plane = Image.fromarray(lay_plane(grey, across, centre[across])).resize(size, Image.Resampling.BILINEAR)
        image = grey_to_rgb(np.array(plane))
        if masks is not None:
            true, predicted = (_enlarged(lay_plane(mask.transpose(axes), across, centre[across]), size) for mask in masks)
            image = draw_contour(draw_mask(image, predicted, PREDICTION), true, TRUTH)
        drawn.append(image)
    return beside(drawn)


def draw_volume_segments(
    network: VolumeSegmenter,
    truth: VolumeTruth,
    volumes: WholeVolumes,
    rows: RowNumbers,
    thresholds: PerFinding,
    count: int,
    seed: int,
    setting: str,
) -> list[Picture]:
    """Draw volumes with a finding, drawn by seed without a look at any model, the findings in turn.

    The planes go through the voxel of the truth that is nearest to its middle.

    Args:
        network: The segmenter.
        truth: The masks.
        volumes: How whole volumes are predicted.
        rows: The scored rows.
        thresholds: One per finding.
        count: Pictures, at most.
        seed: Decides the volumes.
        setting: What the caption calls the fit.
    """
    pictures = []
    for row, place in choose_images(truth, rows, count, seed):
        known = truth.whole(row, place)
        with torch.inference_mode():
            found = volumes.predict(network, truth, row)[place].numpy() > thresholds[place]
        voxels = np.argwhere(known)
        middle = voxels[np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()] if len(voxels) else None
        total = int(found.sum() + known.sum())
        dice = f"Dice {2 * int((found & known).sum()) / total:.2f}" if total else "nothing there"
        name = truth.store.column("row_id")[row]
        words = f"{truth.findings[place]} in {name}, axial, coronal, sagittal: truth green, prediction red, {dice}; {setting}"
        pictures.append(Picture(draw_planes(truth.store, row, middle, (known, found)), words))
    return pictures


def _enlarged(mask: VolumeMask, size: tuple[int, ...]) -> np.ndarray:
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize((size[0], size[1]), Image.Resampling.NEAREST)
    return np.array(image) > 0


def beside(images: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures `height width 3` beside each other on black, their upper edges in line."""
    height, width = max(len(image) for image in images), sum(image.shape[1] + GAP for image in images) - GAP
    sheet, left = np.zeros((height, width, 3), np.uint8), 0
    for image in images:
        sheet[: len(image), left : left + image.shape[1]] = image
        left += image.shape[1] + GAP
    return sheet
