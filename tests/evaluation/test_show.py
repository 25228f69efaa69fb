from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lingula.evaluation.overlays import TRUTH
from lingula.evaluation.show import OTHER, SIDE, Asked, Sheet, draw_sheet, enlarged, panel_shape


def drawn(tmp_path: Path, sheet: Sheet) -> np.ndarray:
    with Image.open(draw_sheet(sheet, tmp_path / "sheet.png")) as image:
        return np.array(image)


def sheet(rows: int, attention: bool = True, truth: bool = True, shape: tuple[int, int] = (40, 30)) -> Sheet:
    heat = np.linspace(-1, 1, shape[0] * shape[1]).reshape(shape)
    inside, others = np.zeros(shape, bool), np.zeros(shape, bool)
    inside[5:15, 5:15], others[20:30, 10:20] = True, True
    asked = [Asked(f"phrase {n}", heat, inside if truth else None, others if truth else None, "green") for n in range(rows)]
    grey = np.full(shape, 100, np.uint8)
    return Sheet("title", grey, asked, heat if attention else None, inside.astype(float) if attention else None, "mask", ["note"])


def test_one_row_of_panels_per_phrase_and_none_for_what_is_missing(tmp_path: Path) -> None:
    one, two = drawn(tmp_path, sheet(1)), drawn(tmp_path, sheet(2))
    assert two.shape[1] == one.shape[1]
    assert SIDE < two.shape[0] - one.shape[0] < 1.5 * SIDE
    widths = [drawn(tmp_path, sheet(1, attention, truth)).shape[1] for attention, truth in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    step = widths[1] - widths[0]
    assert widths == [widths[0], widths[0] + step, widths[0] + 2 * step, widths[0] + 3 * step]


def test_truth_is_green_and_other_regions_are_yellow(tmp_path: Path) -> None:
    def count(image: np.ndarray, colour: tuple[int, int, int]) -> int:
        return int((image == colour).all(axis=2).sum())

    with_truth, without = drawn(tmp_path, sheet(1, attention=False)), drawn(tmp_path, sheet(1, attention=False, truth=False))
    around = 4 * 80 - 4  # the contour of a square of 10 pixels enlarged eight times, in the heat-map and in the truth
    assert count(with_truth, TRUTH) == pytest.approx(2 * around, rel=0.05)
    assert count(with_truth, OTHER) == pytest.approx(around, rel=0.05)
    assert count(without, TRUTH) == count(without, OTHER) == 0


@pytest.mark.parametrize("grey", [np.zeros((16, 16), np.uint8), np.full((20, 64), 65535, np.uint16)])
def test_black_white_and_wide_images_can_be_drawn(tmp_path: Path, grey: np.ndarray) -> None:
    flat = np.full(grey.shape, 0.25)
    plain = Sheet("a title " * 40, grey, [Asked("a phrase " * 60, flat)], flat, np.zeros(grey.shape), "", ["n" * 500])
    assert drawn(tmp_path, plain).shape[2] == 3


def test_panels_keep_the_shape_and_maps_their_place() -> None:
    assert panel_shape((400, 300)) == (SIDE, 240)
    assert panel_shape((10, 4000)) == (1, SIDE)
    values = np.arange(12.0).reshape(3, 4)
    large = enlarged(values, (30, 40))
    assert large.shape == (30, 40)
    np.testing.assert_allclose(large.reshape(3, 10, 4, 10).mean(axis=(1, 3))[1:2, 1:3], values[1:2, 1:3], atol=1e-4)
