from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.data.augment import ImageTransform
from lingula.data.augment_boxes import clip_boxes, evaluated_boxes, stored_boxes, varied_boxes
from lingula.data.augment_config import AugmentConfig

STORED, SEEN = 120, 96


def transform(size: int = SEEN, **values: Any) -> ImageTransform:
    plain = {"brightness": 0, "contrast": 0, "gamma": 0, "mean": 0.0, "std": 1.0}
    return ImageTransform(AugmentConfig(**(plain | values)), size)


def painted(box: tuple[int, int, int, int], shape: str) -> np.ndarray:
    """A bright square, or the ellipse inscribed in it."""
    image = np.zeros((STORED, STORED), np.uint8)
    x1, y1, x2, y2 = box
    if shape == "corners":
        image[y1:y2, x1:x2] = 255
        return image
    rows, columns = np.mgrid[:STORED, :STORED] + 0.5
    inside = ((columns - (x1 + x2) / 2) / (x2 - x1) * 2) ** 2 + ((rows - (y1 + y2) / 2) / (y2 - y1) * 2) ** 2 <= 1
    image[inside] = 255
    return image


def box_around(image: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero((image > 0.5).any(axis=1)), np.flatnonzero((image > 0.5).any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


@pytest.mark.parametrize("shape", ["corners", "ellipse"])
@pytest.mark.parametrize("options", [{}, {"rotation": 40, "crop": 0.9}, {"rotation": 0, "scale": (0.7, 1.4), "translation": 0.1}])
def test_a_bright_shape_stays_in_its_box(shape: str, options: dict[str, Any]) -> None:
    change, box = transform(**options), (42, 50, 78, 66)
    keys = [(0, 3, f"r{number}") for number in range(24)]
    images = change.train([painted(box, shape)] * len(keys), keys)[:, 0].numpy()
    moved = varied_boxes([np.array([box], float)] * len(keys), STORED, change, keys, outline=shape)
    for image, (own, kept) in zip(images, moved, strict=True):
        assert kept.tolist() == [True]
        np.testing.assert_allclose(own[0], box_around(image), atol=1.6)
    differences = np.concatenate([own for own, _ in moved]) - np.stack([box_around(image) for image in images])
    assert np.abs(differences.mean(axis=0)).max() < 0.5, "no bias to one side"
    assert np.ptp(np.concatenate([own for own, _ in moved]), axis=0).min() > 3, "the draws differ"


@pytest.mark.parametrize(("crop", "size"), [(1.0, 96), (0.875, 64), (0.7, 120)])
def test_the_evaluation_crop_moves_boxes_and_back(crop: float, size: int) -> None:
    change, box = transform(size, crop=crop), (44, 50, 76, 66)
    image = change.evaluate([painted(box, "corners")])[0, 0].numpy()
    own, kept = evaluated_boxes(np.array([box], float), STORED, change)
    assert kept.tolist() == [True]
    np.testing.assert_allclose(own[0], box_around(image), atol=1.0)
    np.testing.assert_allclose(stored_boxes(own, STORED, change)[0], box, atol=1e-9)


def test_what_leaves_the_view_is_clipped_or_dropped() -> None:
    boxes = np.array([[-10, 0, 10, 10], [-8, 0, 2, 10], [90, 90, 96, 96], [200, 0, 210, 10], [5, 5, 5, 9]], float)
    clipped, kept = clip_boxes(boxes, 96, kept_share=0.3)
    assert kept.tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(clipped, [[0, 0, 10, 10], [90, 90, 96, 96]])
    assert clip_boxes(boxes, 96)[1].tolist() == [True, True, True, False, False]
    nothing, none = varied_boxes([np.zeros((0, 4))], STORED, transform(), [(0, 0, "r")])[0]
    assert nothing.shape == (0, 4)
    assert none.shape == (0,)


def test_the_ellipse_keeps_what_the_corners_would_grow() -> None:
    change = transform(rotation=10, translation=0, scale=(1, 1))
    keys = [(0, 0, str(number)) for number in range(50)]
    square = [np.array([[40, 40, 80, 80]], float)] * 50
    sides = {
        outline: np.array([np.ptp(own[0, [0, 2]]) for own, _ in varied_boxes(square, STORED, change, keys, outline)])
        for outline in ("ellipse", "corners")
    }
    np.testing.assert_allclose(sides["ellipse"], 40 * SEEN / STORED, rtol=1e-6)
    angle = np.arctan2(*change.affine(keys)[:, [1, 0]].T)
    np.testing.assert_allclose(sides["corners"], 32 * (np.cos(angle) + np.abs(np.sin(angle))), rtol=1e-5)
    assert sides["corners"].max() > 1.12 * 32


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(20, 70), st.floats(20, 70), st.floats(2, 30), st.floats(2, 30))
def test_the_centre_goes_where_the_pixels_go(key: int, x: float, y: float, width: float, height: float) -> None:
    change = transform(crop=0.9, rotation=25)
    box = np.array([[x, y, x + width, y + height]])
    own, _ = varied_boxes([box], STORED, change, [(key,)], kept_share=0.0)[0]
    a, b, right, down = change.affine([(key,)])[0]
    for seen in own[(own[:, :2] > 0).all(axis=1) & (own[:, 2:] < SEEN).all(axis=1)]:
        u, v = (seen[:2] + seen[2:]) / SEEN - 1
        back = np.array([a * u - b * v + right, b * u + a * v + down])
        np.testing.assert_allclose((back + 1) * STORED / 2, [x + width / 2, y + height / 2], atol=1e-3)
