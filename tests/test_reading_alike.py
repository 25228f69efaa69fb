"""A trained model reads a file exactly as the store that it learned from did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom
from PIL import Image

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.readers import read_radiograph
from lingula.data.reading import Reading
from lingula.data.sources.csv_table import CsvSource
from lingula.data.sources.dicom_config import DicomConfig
from lingula.data.sources.dicom_folder import DicomSource
from lingula.data.store import Store

SIDE = 48


def framed(seed: int, shape: tuple[int, int], kind: type[np.generic], border: int = 9) -> np.ndarray:
    """Noise inside a black border."""
    top = 256 if kind is np.uint8 else 4096
    inner = np.random.default_rng(seed).integers(top // 8, top, (shape[0] - 2 * border, shape[1] - 2 * border)).astype(kind)
    return np.pad(inner, border)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("crop", [False, True])
def test_a_dicom_file_is_read_as_the_store_read_it(tmp_path: Path, depth: int, crop: bool) -> None:
    for number, shape in enumerate([(90, 70), (60, 110), (SIDE, SIDE)]):
        tags = {"BitsStored": 12, "StudyInstanceUID": f"1.{number}", "PatientID": f"p{number}"}
        write_dicom(tmp_path / f"files/{number}.dcm", framed(number, shape, np.uint16), **tags)
    source = DicomSource(tmp_path / "files", config=DicomConfig(crop_border=crop))
    settings = PrepareConfig(size=SIDE, bit_depth=depth)
    store = Store.open(prepare(source, tmp_path / "store", settings, workers=1).store)
    reading = Reading.of_store(store.about["settings"])
    assert reading.crop_border == crop
    for row, path in enumerate(store.column("path")):
        found = reading.square(read_radiograph(tmp_path / "files" / path))
        np.testing.assert_array_equal(found, store.pixels(row))
        assert reading.is_stored(found)


def test_a_png_is_read_as_the_store_read_it(tmp_path: Path) -> None:
    lines = ["image,patient_id,text"]
    for number, kind in enumerate([np.uint8, np.uint16]):
        Image.fromarray(framed(number, (91, 64), kind)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,p{number},No effusion.")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    store = Store.open(prepare(CsvSource(tmp_path / "table.csv"), tmp_path / "s", PrepareConfig(size=SIDE), workers=1).store)
    reading = Reading.of_store(store.about["settings"])
    for row, path in enumerate(store.column("path")):
        np.testing.assert_array_equal(reading.square(read_radiograph(tmp_path / path)), store.pixels(row))
