"""A few scored images with their true and their found boxes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lingula.core.types import Boxes, RowNumbers
from lingula.data.store import Store
from lingula.evaluation.detection import FoundBoxes
from lingula.evaluation.detection_scores import Detections
from lingula.evaluation.overlays import PREDICTION, TRUTH, draw_boxes, grey_to_rgb
from lingula.evaluation.pictures import Picture

BOXED, EMPTY = 4, 2
"""How many pictures have a true box, and how many have none."""
SHOWN = 3
"""Found boxes drawn per image, the best ones."""
SIDE = 384
"""Smaller images are enlarged to this many pixels."""


def detection_pictures(store: Store, rows: RowNumbers, detections: Detections, setting: str, seed: int) -> list[Picture]:
    """Draw images chosen by seed, the same ones for every encoder: truth green, the best found boxes red with their scores.

    Args:
        store: The store.
        rows: The rows of `detections`.
        detections: What was found; the first unit that scores an image is drawn.
        setting: Named in the caption.
        seed: Chooses the images.
    """
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    boxed = [place for place in order if len(detections.truth[place].boxes)][:BOXED]
    empty = [place for place in order if not len(detections.truth[place].boxes)][:EMPTY]
    return [_picture(store, int(rows[place]), place, detections, setting) for place in [*boxed, *empty]]


def _picture(store: Store, row: int, place: int, detections: Detections, setting: str) -> Picture:
    pixels = store.pixels(row)
    zoom = max(SIDE // pixels.shape[1], 1)
    enlarged = Image.fromarray(grey_to_rgb(pixels)).resize(
        (pixels.shape[1] * zoom, pixels.shape[0] * zoom), Image.Resampling.BICUBIC
    )
    own = detections.truth[place]
    said = next((unit[place] for unit in detections.found if unit[place] is not None), None) or FoundBoxes.nothing()
    best = FoundBoxes(said.boxes[:SHOWN], said.scores[:SHOWN], said.labels[:SHOWN])
    image = draw_boxes(np.array(enlarged), _tuples(own.boxes * zoom), TRUTH, _names(detections, own.labels))
    words = [f"{score:.2f}" for score in best.scores]
    words = [" ".join(pair).strip() for pair in zip(words, _names(detections, best.labels), strict=True)]
    image = draw_boxes(image, _tuples(best.boxes * zoom), PREDICTION, words)
    truth = f"{len(own.boxes) or 'no'} true {'box' if len(own.boxes) == 1 else 'boxes'}"
    caption = f"{setting} of labels: {truth} in green, the {len(best.boxes)} best of {len(said.boxes)} found in red"
    return Picture(image, f"{caption} ({detections.row_ids[place]}).")


def _names(detections: Detections, labels: np.ndarray) -> list[str]:
    """The boxes' classes; nothing where there is only one."""
    return [detections.classes[label] if len(detections.classes) > 1 else "" for label in labels.tolist()]


def _tuples(boxes: Boxes) -> list[tuple[float, float, float, float]]:
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.tolist()]
