from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ct_volumes import chest
from dicom_files import write_dicom
from pydicom.uid import CTImageStorage, JPEG2000Lossless, generate_uid

from lingula.cli import main
from lingula.data.dicom_series import read_series
from lingula.data.phi import Leak
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.readers import UnreadableImage
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.dicom_series import DicomSeriesSource
from lingula.data.sources.text_labels import TextLabels
from lingula.data.study import part_of
from lingula.data.volume_grid import orient
from lingula.data.volume_store import VolumeStore

AXIAL = [1, 0, 0, 0, 1, 0]
CORONAL = [1, 0, 0, 0, 0, -1]
Slices = list[tuple[np.ndarray, dict[str, Any]]]


def slices(hu: np.ndarray, orientation: list[float] = AXIAL, step: float = 3.0, tilt: float = 0.0) -> Slices:
    """One slice per last index of `columns rows slices`; the stored values are HU + 1024, half as large as slope 2 makes them."""
    along = np.array(orientation, float).reshape(2, 3)
    normal = np.cross(*along)
    study, series = generate_uid(), generate_uid()
    result: Slices = []
    for number in range(hu.shape[2]):
        position = np.array([-60.0, -40, -50]) + number * step * (normal + np.tan(np.radians(tilt)) * along[1])
        tags = {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": generate_uid(),
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "Modality": "CT",
            "ImagePositionPatient": [f"{each:.4f}" for each in position],
            "ImageOrientationPatient": [float(each) for each in orientation],
            "PixelSpacing": [2.5, 2.0],
            "RescaleSlope": 2,
            "RescaleIntercept": -1024,
        }
        result.append((((hu[..., number].T + 1024) // 2).astype(np.int16), tags))
    return result


def write(folder: Path, series: Slices, order: int = 0) -> list[Path]:
    """Write slices under names that say nothing about their order."""
    names = np.random.default_rng(order).permutation(len(series))
    files = [folder / f"{name:04d}.dcm" for name in names]
    for file, (pixels, tags) in zip(files, series, strict=True):
        write_dicom(file, pixels, **tags)
    return sorted(files)


EVEN = chest() // 2 * 2


def test_a_series_is_sorted_by_place_and_rescaled_once(tmp_path: Path) -> None:
    volume = read_series(write(tmp_path, slices(EVEN)))
    np.testing.assert_array_equal(volume.voxels, EVEN)
    np.testing.assert_allclose(volume.spacing, [2, 2.5, 3])
    np.testing.assert_allclose(volume.affine, [[-2, 0, 0, 60], [0, -2.5, 0, 40], [0, 0, 3, -50], [0, 0, 0, 1]], atol=1e-4)
    np.testing.assert_array_equal(orient(volume, "RAS").voxels, EVEN[::-1, ::-1])


def test_a_coronal_series_lies_as_its_header_says(tmp_path: Path) -> None:
    """Columns to the left, rows to the feet: slices are stacked to the front or back by their normal."""
    volume = read_series(write(tmp_path, slices(EVEN, CORONAL)))
    normal = np.cross([1, 0, 0], [0, 0, -1])
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag([-1, -1, 1]) @ np.array([[2, 0, 0], [0, 0, -2.5], 3 * normal]).T)


def test_agrees_with_itk(tmp_path: Path) -> None:
    import SimpleITK

    from lingula.data.volume_reader import from_itk

    files = write(tmp_path, slices(EVEN, step=1.25))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    theirs, ours = from_itk(reader.Execute()), read_series(files)
    np.testing.assert_array_equal(ours.voxels, theirs.voxels)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)


def test_each_slice_has_its_own_slope(tmp_path: Path) -> None:
    series = slices(EVEN)
    pixels, tags = series[5]
    series[5] = (pixels // 2, {**tags, "RescaleSlope": 4.0})
    quarter = (EVEN[..., 5] + 1024) // 4 * 4 - 1024
    read = read_series(write(tmp_path, series)).voxels
    np.testing.assert_array_equal(read[..., 5], quarter)
    np.testing.assert_array_equal(read[..., 6], EVEN[..., 6])


def test_compressed_slices_are_read(tmp_path: Path) -> None:
    files, large = [], np.pad(EVEN[..., :9], ((12, 12), (17, 17), (0, 0)), constant_values=-1000)
    for number, (pixels, tags) in enumerate(slices(large)):
        files.append(tmp_path / f"{number}.dcm")
        write_dicom(files[-1], pixels, JPEG2000Lossless, **tags)
    np.testing.assert_array_equal(read_series(files).voxels, large)


def changed(number: int, **tags: Any) -> Any:
    def change(series: Slices) -> Slices:
        series[number] = (series[number][0], {**series[number][1], **tags})
        return series

    return change


def turned(series: Slices) -> Slices:
    other = slices(EVEN, [np.cos(0.1), np.sin(0.1), 0, -np.sin(0.1), np.cos(0.1), 0])
    return [*series[:12], *other[12:]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda series: series[:7] + series[8:], "a gap between slices: 6 mm where 3 mm is usual (1 missing)"),
        (lambda series: series[:7] + series[10:], "a gap between slices: 12 mm where 3 mm is usual (3 missing)"),
        (lambda series: [*series, series[3]], "1 of 25 slices lie at the place of another one (duplicates?)"),
        (turned, "slices of mixed orientation"),
        (lambda series: series[:1], "a series of one slice is no volume"),
        (changed(4, PixelSpacing=[2.5, 2.5]), "slices of different pixel spacing"),
        (changed(4, ImagePositionPatient=None), "a slice without ImagePositionPatient (or with a wrong one)"),
        (changed(4, ImagePositionPatient=[-60, -40, -37]), "a gap between slices: 4 mm where 3 mm is usual (unevenly spaced)"),
        (changed(4, RescaleSlope=None), "a slice without RescaleSlope (or with a wrong one)"),
        (changed(4, RescaleIntercept=None), "a slice without RescaleIntercept (or with a wrong one)"),
        (changed(4, PixelSpacing=None), "a slice without PixelSpacing (or with a wrong one)"),
        (changed(4, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "rows and columns of a slice are not perpendicular"),
        (changed(4, PhotometricInterpretation="MONOCHROME1"), "a slice that is coloured or inverted is no CT"),
        (changed(4, NumberOfFrames=4), "multi-frame: 4 frames"),
        (changed(4, PixelData=None), "no pixel data"),
        (lambda series: slices(EVEN, tilt=12), "a gantry tilted by 12.0 degrees"),
        (
            lambda series: [(pixels, {**tags, "PixelSpacing": [0, 2]}) for pixels, tags in series],
            "a spacing that is not positive",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_series_is_said(change: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage) as caught:
        read_series(write(tmp_path, change(slices(EVEN))))
    assert reason in caught.value.reason


def test_slices_of_different_sizes(tmp_path: Path) -> None:
    series = slices(EVEN)
    series[3] = (series[3][0][:-1], series[3][1])
    with pytest.raises(UnreadableImage, match="slices of 2 different sizes"):
        read_series(write(tmp_path, series))


def test_positions_rounded_in_the_header_are_even(tmp_path: Path) -> None:
    """Slices 0.625 mm apart, told to a twentieth of a millimetre."""
    series = [
        (pixels, {**tags, "ImagePositionPatient": [-60.0, -40.0, float(np.round(0.625 * number / 0.05) * 0.05)]})
        for number, (pixels, tags) in enumerate(slices(EVEN, step=0.625))
    ]
    assert read_series(write(tmp_path, series)).spacing[2] == pytest.approx(0.625, abs=0.003)


def test_a_folder_of_series_becomes_a_store(tmp_path: Path) -> None:
    """Two reconstructions of one study, a study with a missing slice, a localiser and a text file."""
    root = tmp_path / "dicom"
    first = slices(EVEN)
    second = [(pixels, {**tags, "SeriesInstanceUID": "1.2.3", "ConvolutionKernel": "B70f"}) for pixels, tags in first]
    second = [(pixels, {**tags, "SOPInstanceUID": generate_uid()}) for pixels, tags in second]
    write(root / "a/1", first)
    write(root / "a/2", second)
    broken = slices(EVEN)
    write(root / "b", broken[:9] + broken[10:])
    write_dicom(root / "b/scout.dcm", first[0][0], **{**broken[0][1], "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
    (root / "notes.txt").write_text("nothing")
    table = tmp_path / "reports.csv"
    uid = first[0][1]["StudyInstanceUID"]
    table.write_text(f"StudyInstanceUID,findings\n{uid},No nodule.\n")
    source = DicomSeriesSource(root, table, columns=CsvConfig(name="archive"))
    assert source.skipped == {"localiser": 1, "not a DICOM file": 1}
    assert [len(study.images) for study in source] == [2, 1]
    summary = prepare(source, tmp_path / "store", PrepareVolumesConfig(), workers=1)
    assert summary.reasons == {"a gap between slices: 6 mm where 3 mm is usual (1 missing)": 1}
    store = VolumeStore.open(summary.store)
    assert len(store) == 2
    assert store.column("modality") == ["ct", "ct"]
    assert [store.text(row) for row in range(2)] == ["No nodule."] * 2
    for row in range(2):
        np.testing.assert_array_equal(store.volume(row).voxels, EVEN[::-1, ::-1])
    assert store.column("extra")[0]["slices"] == "24"
    assert not any(uid in str(value) for value in store.column("extra")), "the study's own number is not stored"


def test_a_shard_takes_along_its_own_series_only_and_workers_write_the_same(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "dicom" / name, [(pixels, {**tags, "PatientID": name}) for pixels, tags in slices(EVEN)])
    source = DicomSeriesSource(tmp_path / "dicom")
    studies = list(source)
    part = part_of(TextLabels(source), studies[1:2])
    np.testing.assert_array_equal(part.read(studies[1], 0).volume.voxels, source.read(studies[1], 0).volume.voxels)
    with pytest.raises(KeyError):
        part.read(studies[0], 0)
    assert len(pickle.dumps(part)) < len(pickle.dumps(source))
    settings = PrepareVolumesConfig(shard_studies=1)
    one, two = (prepare(source, tmp_path / f"{workers}", settings, workers=workers).store for workers in (1, 2))
    assert VolumeStore.open(one).fingerprint == VolumeStore.open(two).fingerprint


def test_every_slice_is_looked_into_for_the_patient_and_a_tag_counts_once_a_series(tmp_path: Path) -> None:
    series = [(pixels, {**tags, "PatientID": ""}) for pixels, tags in slices(EVEN[..., :6])]
    for place in (3, 4):
        series[place][1]["PatientName"] = "OKONKWO^J"
    series[5][1]["StudyDate"] = "20200102"
    for number, (pixels, tags) in enumerate(series):
        write_dicom(tmp_path / f"in/{number}.dcm", pixels, **tags)
    source = DicomSeriesSource(tmp_path / "in")
    assert source.leaks == [Leak("header", "PatientName", "name", "3.dcm"), Leak("header", "StudyDate", "date", "5.dcm")]
    words = ["data", "prepare", "dicom", "--projection", "ct", "--root", str(tmp_path / "in"), "--store", str(tmp_path / "s")]
    with pytest.raises(SystemExit) as left:
        main([*words, "--strict-phi"])
    assert left.value.code == 2
    assert not (tmp_path / "s").exists()
