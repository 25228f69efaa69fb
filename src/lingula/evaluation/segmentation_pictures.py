"""A few images with what is true and what a segmenter finds."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from lingula.core.types import RegionMask, RowNumbers
from lingula.data.augment import ImageTransform
from lingula.evaluation.arrays import PerFinding
from lingula.evaluation.overlays import PREDICTION, TRUTH, draw_contour, draw_mask, eight_bits, grey_to_rgb
from lingula.evaluation.pictures import Picture
from lingula.evaluation.segmentation_truth import KnownPlaces, SegmentationTruth
from lingula.evaluation.segmenter import Segmenter, placed

LEAST_SIDE = 256
"""Smaller views are enlarged by a whole number, so that a contour is thin."""


def draw_segments(
    network: Segmenter,
    truth: SegmentationTruth,
    transform: ImageTransform,
    rows: RowNumbers,
    thresholds: PerFinding,
    count: int,
    seed: int,
    setting: str,
) -> list[Picture]:
    """Draw images with a finding, drawn by seed without a look at any model, the findings in turn.

    Args:
        network: The segmenter.
        truth: The masks.
        transform: Gives the model's view, which is what is drawn.
        rows: The scored rows.
        thresholds: One per finding.
        count: Pictures, at most.
        seed: Decides the images.
        setting: What the caption calls the fit.
    """
    pictures = []
    for row, place in choose_images(truth, rows, count, seed):
        pixels = truth.store.pixels(row)
        with torch.inference_mode():
            images = transform.evaluate([pixels])
            found = network.eval()(placed(images, network)).float().sigmoid()[0, place].cpu().numpy() > thresholds[place]
        known = transform.evaluate_masks([truth.masks(row)])[0, place].numpy() > 0
        total = int(found.sum() + known.sum())
        dice = f"Dice {2 * int((found & known).sum()) / total:.2f}" if total else "nothing in view"
        name = truth.store.column("row_id")[row]
        caption = f"{truth.findings[place]} in {name}: truth green, prediction red, {dice}; {setting}"
        grey = images[0, 0] * transform.config.std + transform.config.mean
        pictures.append(Picture(_overlay((255 * grey.clamp(0, 1)).byte().numpy(), known, found), caption))
    return pictures


def choose_images(truth: KnownPlaces, rows: RowNumbers, count: int, seed: int) -> list[tuple[int, int]]:
    """Draw rows and findings by seed: each finding in turn, another image each time where there is one."""
    order = np.random.default_rng(seed).permutation(rows)
    queues = [[int(row) for row in order if truth.outlined[row, place]] for place in range(len(truth.findings))]
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count and any(queues):
        for place, queue in enumerate(queues):
            if queue and len(chosen) < count:
                taken = {row for row, _ in chosen}
                row = next((row for row in queue if row not in taken), queue[0])
                queue.remove(row)
                chosen.append((row, place))
    return chosen


def _overlay(grey: np.ndarray, known: RegionMask, found: RegionMask) -> np.ndarray:
    times = max(1, -(-LEAST_SIDE // len(grey)))
    side = times * len(grey)
    large = Image.fromarray(eight_bits(grey)).resize((side, side), Image.Resampling.BILINEAR)
    known, found = (mask.repeat(times, axis=0).repeat(times, axis=1) for mask in (known, found))
    return draw_contour(draw_mask(grey_to_rgb(np.array(large)), found, PREDICTION), known, TRUTH)
