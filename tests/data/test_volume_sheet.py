from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ct_volumes import ChestSource
from PIL import Image

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.contact_sheet import GAP, PALETTE
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.study import ImageReference, Region, Scan, Study
from lingula.data.volume_reader import Volume
from lingula.data.volume_sheet import BAR, SIDE, Window, draw_volume_sheet
from lingula.data.volume_store import VolumeStore


class OneBlock(ChestSource):
    """Black but for a white block near the patient's right, front and head; 60 x 100 x 50 mm; a mask of it or a box."""

    def __init__(self, region: str | None) -> None:
        super().__init__([(30, 25, 10)])
        self.region = region

    def __iter__(self):
        boxes = [Region(finding="block", box=(20, 18, 7, 26, 22, 9))] if self.region == "box" else []
        image = ImageReference(path="v.nii", modality="ct", projection="CT")
        yield Study(study_id="s", patient_id="p", images=[image], regions=boxes, split="train")

    def read(self, study: Study, image_index: int) -> Scan:
        hu = np.full((30, 25, 10), -1000, np.int16)
        hu[20:26, 18:22, 7:9] = 1000
        volume = Volume(hu, np.diag([2.0, 4, 5, 1]))
        if self.region != "mask":
            return Scan(volume)
        return Scan(volume, [Region(finding="block", box=(0, 0, 0, 1, 1, 1))], [hu > 0])


def sheet(tmp_path: Path, region: str | None, orientation: str = "RAS") -> np.ndarray:
    settings = PrepareVolumesConfig(check_hounsfield=False, orientation=orientation)  # type: ignore[arg-type]
    store = VolumeStore.open(prepare(OneBlock(region), tmp_path / f"{region}{orientation}", settings, workers=1).store)
    return np.asarray(Image.open(draw_volume_sheet(store, tmp_path / "sheet.png", window=Window(0, 1000)))).astype(int)


AXIAL = (slice(GAP, GAP + SIDE), slice(GAP, GAP + SIDE * 60 // 100))
"""100 mm along y are the longest side; 60 mm along x."""


def extent(inside: np.ndarray) -> list[int]:
    """First and last row and column that are inside."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return [rows[0], rows[-1] + 1, columns[0], columns[-1] + 1]


@pytest.mark.parametrize("orientation", ["RAS", "SAR"])
@pytest.mark.parametrize("region", ["mask", "box"])
def test_right_is_left_front_is_up_and_regions_lie_on_what_they_are_of(tmp_path: Path, region: str, orientation: str) -> None:
    """Along x, 40 to 52 of 60 mm is 8 to 20 mm from the left; y 72 to 88 of 100 mm is 12 to 28 mm from the top; 3 pixels a mm."""
    axial = sheet(tmp_path, region, orientation)[AXIAL]
    colour = np.abs(axial - PALETTE[0]).max(axis=-1) == 0
    assert colour.any()
    np.testing.assert_allclose(extent(colour), [36, 84, 24, 60], atol=7)
    assert (axial[45:75, 32:52].max(axis=-1) > 200).all(), "the block itself is inside its region"
    assert (axial[100:280, 40:].max(axis=-1) < 40).all()


def test_a_volume_without_regions_is_cut_in_the_middle(tmp_path: Path) -> None:
    drawn = sheet(tmp_path, None)
    axial = drawn[AXIAL]
    bar = np.flatnonzero((axial[-12:-7].min(axis=-1) > 200).any(axis=0))
    assert len(bar) == pytest.approx(BAR * SIDE / 100, abs=2)
    assert (axial[40:120, 40:].max(axis=-1) < 20).all(), "the block is above the middle"


def test_hounsfield_units_to_grey() -> None:
    assert Window(-300, 1500).grey(np.array([-1050, -2000, -300, 450, 3000])).tolist() == [0, 0, 128, 255, 255]


def test_the_command_draws_a_store_of_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(ChestSource([(40, 30, 24)] * 3), tmp_path / "store", PrepareVolumesConfig(), workers=1)
    main(["data", "show", str(tmp_path / "store"), "--out", str(tmp_path / "out.png"), "--finding", "lung", "--images", "2"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").height > 1000, "two volumes with two lines of planes each"
    with pytest.raises(UserError, match=r"no finding 'long'.*Did you mean 'lung'"):
        draw_volume_sheet(VolumeStore.open(tmp_path / "store"), tmp_path / "o.png", finding="long")
    with pytest.raises(UserError, match="has no row 3"):
        draw_volume_sheet(VolumeStore.open(tmp_path / "store"), tmp_path / "o.png", rows=[3])
