from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bright_squares import SIZE, SquaresStore

from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.detection import FoundBoxes
from lingula.evaluation.detection_pictures import SHOWN, SIDE, detection_pictures
from lingula.evaluation.detection_scores import Detections
from lingula.evaluation.detection_truth import gather_boxes
from lingula.evaluation.overlays import PREDICTION, TRUTH
from lingula.evaluation.pictures import Picture

ROWS = np.arange(24)
FOUND = FoundBoxes(
    np.array([[2.0, 3, 12, 13], [20, 20, 30, 30], [1, 1, 4, 4], [5, 5, 9, 9]]), np.array([0.9, 0.5, 0.3, 0.2]), np.zeros(4, int)
)


def pictures(rows: np.ndarray = ROWS, found: Any = FOUND, units: int = 1, seed: int = 0, classes: str = "one") -> list[Picture]:
    store: Any = SquaresStore(24)
    truth = gather_boxes(store, ROWS, EvaluateConfig.from_values({"store": "x", "detect": {"classes": classes}}, "test"))
    said = [[None] * len(rows)] * (units - 1) + [[found] * len(rows)]
    names = [f"r{row:03}" for row in rows]
    own = [truth.of[int(row)] for row in rows]
    return detection_pictures(store, rows, Detections(names, names, truth.classes, own, said), "10 %", seed)


def has(picture: Picture, colour: Any, box: Any) -> bool:
    """Whether the upper edge of a box, in stored pixels, is drawn in a colour."""
    zoom = SIDE // SIZE
    x1, y1, x2, _ = (round(value * zoom) for value in box)
    return bool((picture.image[y1, x1 + 1 : x2 - 1] == np.array(colour)).all())


def test_images_with_and_without_boxes_are_drawn_truth_green_and_found_red() -> None:
    drawn = pictures()
    assert len(drawn) == 6
    assert [" no true boxes" in picture.caption for picture in drawn] == [False] * 4 + [True] * 2
    for picture in drawn:
        assert picture.image.shape == (SIDE, SIDE, 3)
        assert picture.caption.startswith("10 % of labels: ")
        assert f"the {SHOWN} best of 4 found in red" in picture.caption
        assert has(picture, PREDICTION, FOUND.boxes[1])
        assert not has(picture, PREDICTION, FOUND.boxes[3])
    store: Any = SquaresStore(24)
    clean = pictures(found=FoundBoxes.nothing())
    assert all("the 0 best of 0 found" in picture.caption for picture in clean)
    for picture in clean[:4]:
        row = int(picture.caption.split("(r")[1][:3])
        assert has(picture, TRUTH, store.boxes[row][-1].box)


def test_the_seed_alone_chooses_and_the_first_unit_that_looked_is_drawn() -> None:
    names = [picture.caption[-6:] for picture in pictures()]
    assert [picture.caption[-6:] for picture in pictures(found=FoundBoxes.nothing(), units=3)] == names
    assert [picture.caption[-6:] for picture in pictures(seed=1)] != names
    assert any(has(picture, PREDICTION, FOUND.boxes[1]) for picture in pictures(units=3))


@pytest.mark.parametrize(("rows", "count"), [(ROWS[ROWS % 4 == 1], 4), (ROWS[ROWS % 4 == 0], 2), (ROWS[:2], 2), (ROWS[:0], 0)])
def test_fewer_images_give_fewer_pictures(rows: np.ndarray, count: int) -> None:
    assert len(pictures(rows)) == count


def test_classes_are_written_where_there_are_several() -> None:
    one, each = pictures()[0].image, pictures(classes="each")[0].image
    assert not np.array_equal(one, each)
