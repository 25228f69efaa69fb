from __future__ import annotations

import shutil
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from dicom_files import dicom, look_up_table, write_dicom
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import JPEG2000Lossless, RLELossless

from lingula.data.coded_size import coded_size
from lingula.data.dicom import border_of, defaults_used, read_header
from lingula.data.expendable_decoder import decode_expendably
from lingula.data.readers import UnreadableImage, read_radiograph

REAL = Path(data_store.__file__).parent / "data"
DEEP = np.random.default_rng(0).integers(0, 4096, (40, 60), dtype=np.uint16)
SHALLOW = (DEEP // 16).astype(np.uint8)
DEEP[0, :2], SHALLOW[0, :2] = (0, 4095), (0, 255)


def _read(path: Path, pixels: np.ndarray, **tags: object) -> np.ndarray:
    write_dicom(path / "a.dcm", pixels, **tags)
    return read_radiograph(path / "a.dcm")


def _share(values: np.ndarray) -> np.ndarray:
    """Grey values as shares of the range."""
    return values / np.iinfo(values.dtype).max


def test_the_real_radiograph_is_the_same_in_its_four_encodings() -> None:
    images = {name: read_radiograph(REAL / f"RG1_{name}.dcm") for name in ("UNCI", "J2KI", "UNCR", "J2KR")}
    assert {(image.shape, image.dtype.name) for image in images.values()} == {((1955, 1841), "uint16")}
    np.testing.assert_array_equal(images["UNCI"], images["J2KI"])
    np.testing.assert_array_equal(images["UNCR"], images["J2KR"])
    assert np.abs(images["UNCI"].astype(int) - images["UNCR"]).max() <= 0.02 * 65535
    stored = pydicom.dcmread(REAL / "RG1_UNCR.dcm").pixel_array.astype(float)
    window = np.clip((stored - 14999.5) / 29999 + 0.5, 0, 1)
    np.testing.assert_allclose(_share(images["UNCR"]), 1 - window, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_bigendian", "MR_small_implicit"]
)
def test_every_lossless_encoding_gives_the_same_grey_values(name: str) -> None:
    plain = read_radiograph(Path(str(get_testdata_file("MR_small.dcm", download=False))))
    assert plain.std() > 1000
    np.testing.assert_array_equal(read_radiograph(Path(str(get_testdata_file(f"{name}.dcm", download=False)))), plain)


def test_lossy_jpeg_and_lossless_jpeg_are_close_to_the_uncompressed() -> None:
    plain = read_radiograph(REAL / "SC_rgb.dcm").astype(int)
    for name in ("SC_rgb_jpeg_gdcm", "SC_rgb_jpeg_dcmtk", "SC_rgb_jls_lossy_line"):
        found = read_radiograph(Path(str(get_testdata_file(f"{name}.dcm", download=False))))
        assert np.abs(found.astype(int) - plain).mean() < 2, name


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("pixels", [SHALLOW, DEEP], ids=["8 bits", "12 bits"])
def test_own_compressed_files_read_as_the_plain_ones(tmp_path: Path, syntax: pydicom.uid.UID, pixels: np.ndarray) -> None:
    bits = {"BitsStored": 12} if pixels is DEEP else {}
    plain = _read(tmp_path, pixels, **bits)
    np.testing.assert_array_equal(_read(tmp_path, pixels, syntax=syntax, **bits), plain)
    assert plain.dtype == pixels.dtype


def test_without_a_window_the_images_own_range_counts(tmp_path: Path) -> None:
    found = _read(tmp_path, DEEP // 4 + 500, BitsStored=12)
    np.testing.assert_allclose(_share(found), (DEEP // 4) / 1023, atol=1e-4)
    np.testing.assert_array_equal(_read(tmp_path, SHALLOW), SHALLOW)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize(("centre", "width"), [(1000, 800), (2048.5, 3000), (100, 2)])
def test_windows_equal_pydicoms_own(tmp_path: Path, function: str | None, centre: float, width: float) -> None:
    tags = {"WindowCenter": [centre, 3], "WindowWidth": [width, 7], "VOILUTFunction": function}
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    dataset = dicom(DEEP, BitsStored=12, **tags, **rescale)
    lowest, highest = -1000, 2 * 4095 - 1000
    expected = (apply_windowing(apply_modality_lut(DEEP, dataset), dataset) - lowest) / (highest - lowest)
    found = _share(_read(tmp_path, DEEP, BitsStored=12, **tags, **rescale))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.std() > 0.1 or width == 2


def test_a_window_of_width_one_is_a_threshold(tmp_path: Path) -> None:
    found = _read(tmp_path, DEEP, BitsStored=12, WindowCenter=2000, WindowWidth=1)
    np.testing.assert_array_equal(found, (DEEP > 1999) * np.uint16(65535))


@pytest.mark.parametrize("window", [{"WindowWidth": 0}, {"WindowWidth": -5}, {"WindowWidth": None}, {"VOILUTFunction": "ODD"}])
def test_an_invalid_window_counts_as_none(tmp_path: Path, window: dict[str, object]) -> None:
    tags = {"WindowCenter": 100, "WindowWidth": 50} | window
    np.testing.assert_array_equal(_read(tmp_path, DEEP, BitsStored=12, **tags), _read(tmp_path, DEEP, BitsStored=12))
    write_dicom(tmp_path / "a.dcm", DEEP, BitsStored=12, **tags)
    assert "window=range of the image" in defaults_used(read_header(tmp_path / "a.dcm"))


def test_monochrome1_is_turned_over(tmp_path: Path) -> None:
    window = {"WindowCenter": 1500, "WindowWidth": 2000, "BitsStored": 12}
    bright = _read(tmp_path, DEEP, **window)
    dark = _read(tmp_path, DEEP, PhotometricInterpretation="MONOCHROME1", **window)
    np.testing.assert_allclose(_share(bright) + _share(dark), 1, atol=2e-5)


def test_a_voi_table_goes_before_a_window(tmp_path: Path) -> None:
    curve = [min(1023, round(1023 * (entry / 2999) ** 2)) for entry in range(3000)]
    tags = {"VOILUTSequence": [look_up_table(curve, 500, 10)], "WindowCenter": 5, "WindowWidth": 6}
    expected = np.array(curve)[np.clip(DEEP.astype(int) - 500, 0, 2999)] / 1023
    np.testing.assert_allclose(_share(_read(tmp_path, DEEP, BitsStored=12, **tags)), expected, atol=1e-4)


def test_a_modality_table_comes_before_the_window_and_may_begin_below_zero(tmp_path: Path) -> None:
    signed = DEEP.astype(np.int16) - 2048
    curve = list(range(4000, 0, -1))
    tags = {"ModalityLUTSequence": [look_up_table(curve, -2000, 16)], "WindowCenter": 2000.5, "WindowWidth": 4001}
    expected = np.array(curve)[np.clip(signed.astype(int) + 2000, 0, 3999)] / 4000
    np.testing.assert_allclose(_share(_read(tmp_path, signed, **tags)), expected, atol=1e-3)


def test_real_files_with_tables_are_read_like_pydicom_does() -> None:
    modality, voi = pydicom.dcmread(REAL / "mlut_18.dcm"), pydicom.dcmread(REAL / "vlut_04.dcm")
    values = apply_modality_lut(modality.pixel_array, modality).astype(float)
    expected = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(_share(read_radiograph(REAL / "mlut_18.dcm")), expected, atol=1e-4)
    expected = pydicom.pixels.apply_voi(voi.pixel_array, voi)
    largest = 2 ** voi.VOILUTSequence[0].LUTDescriptor[2] - 1
    np.testing.assert_allclose(_share(read_radiograph(REAL / "vlut_04.dcm")), expected / largest, atol=1 / 255)


def test_padding_is_black_and_does_not_stretch_the_range(tmp_path: Path) -> None:
    padded = DEEP.copy()
    padded[:5] = 65535
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        found = _read(tmp_path, padded, PixelPaddingValue=65535, PhotometricInterpretation=kind)
        assert not found[:5].any()
        rest = DEEP[5:] - DEEP[5:].min()
        expected = rest / rest.max()
        np.testing.assert_allclose(_share(found[5:]), expected if kind == "MONOCHROME2" else 1 - expected, atol=1e-4)
    signed = np.where(padded == 65535, -32768, padded.astype(np.int32) - 2048).astype(np.int16)
    assert not _read(tmp_path, signed, PixelPaddingValue=-32768)[:5].any()


def test_bits_above_those_stored_are_ignored(tmp_path: Path) -> None:
    overlaid = DEEP | (np.arange(60, dtype=np.uint16) % 2 << 14)
    np.testing.assert_array_equal(_read(tmp_path, overlaid, BitsStored=12), _read(tmp_path, DEEP, BitsStored=12))
    signed = (DEEP.astype(np.int16) - 2048) & 0x0FFF
    np.testing.assert_array_equal(_read(tmp_path, signed, BitsStored=12), _read(tmp_path, DEEP, BitsStored=12))


def test_colour_becomes_luminance_in_its_own_depth(tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 65536, (9, 7, 3), dtype=np.uint16)
    for pixels in (colour, (colour >> 8).astype(np.uint8)):
        found = _read(tmp_path, pixels, PhotometricInterpretation="RGB", PlanarConfiguration=0)
        np.testing.assert_array_equal(found, np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(pixels.dtype))


def test_missing_tags_have_the_stated_defaults(tmp_path: Path) -> None:
    whole = _read(tmp_path, DEEP)
    missing = dicom(DEEP)
    for tag in ("PhotometricInterpretation", "PixelRepresentation", "BitsStored", "HighBit", "SamplesPerPixel", "Modality"):
        delattr(missing, tag)
    missing.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_radiograph(tmp_path / "b.dcm"), whole)
    assert defaults_used(read_header(tmp_path / "b.dcm")) == [
        "PhotometricInterpretation=MONOCHROME2",
        "SamplesPerPixel=1",
        "PixelRepresentation=0",
        "BitsStored=BitsAllocated",
        "window=range of the image",
    ]


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    expected = _read(tmp_path, DEEP)
    shutil.copy(tmp_path / "a.dcm", tmp_path / "a.png")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.png"), expected)
    bare = dicom(DEEP)
    del bare.file_meta
    bare.save_as(tmp_path / "bare", implicit_vr=True, little_endian=True)
    assert (tmp_path / "bare").read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_radiograph(tmp_path / "bare"), expected)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"PixelData": None}, "no pixel data"),
        ({"NumberOfFrames": 3}, "multi-frame: 3 frames"),
        ({"Rows": 0}, "zero-sized: 60 x 0 pixels"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels is too large"),
        ({"Rows": 50}, "file is truncated"),
        ({"BitsStored": 20, "HighBit": 19}, "20 of 16 bits"),
        ({"HighBit": 14}, "high bit 14 with 16 bits"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR with 1 samples"),
    ],
)
def test_what_is_no_single_radiograph_is_refused(tmp_path: Path, tags: dict[str, object], reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        _read(tmp_path, DEEP, **tags)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("image_dfl", "deflated"),
        ("rtdose_1frame", "32 of 32 bits"),
        ("JPGExtended", "JPEG Extended.*not decoded"),
        ("MR_truncated", "file is truncated"),
        ("test-SR", "no pixel data"),
    ],
)
def test_pydicoms_odd_files_are_refused_with_a_reason(name: str, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        read_radiograph(Path(str(get_testdata_file(f"{name}.dcm", download=False))))


def test_a_coded_image_larger_than_its_header_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    dataset = dicom(SHALLOW, syntax=JPEG2000Lossless)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    assert coded_size(frame) == (40, 60)
    at = frame.index(b"\xff\x4f\xff\x51") + 8
    dataset.PixelData = pydicom.encaps.encapsulate([frame[:at] + (60000).to_bytes(4, "big") * 2 + frame[at + 8 :]])
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableImage, match="header says 60 x 40 pixels, the coded image 60000 x 60000"):
        read_radiograph(tmp_path / "a.dcm")


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk", "SC_rgb_jls_lossy_line", "SC_rgb_jpeg_gdcm", "JPEG2000"])
def test_the_size_is_found_in_every_kind_of_codestream(name: str) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file(f"{name}.dcm", download=False)))
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    assert coded_size(frame) == (dataset.Rows, dataset.Columns)
    assert coded_size(frame[:6]) is None
    assert coded_size(b"") is None


def test_a_stream_that_aborts_gdcm_is_refused_and_the_next_file_is_read(tmp_path: Path) -> None:
    crashing = bytearray(Path(str(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm", download=False))).read_bytes())
    del crashing[1959:1961]  # two bytes of its Huffman table
    (tmp_path / "a.dcm").write_bytes(crashing)
    whole = Path(str(get_testdata_file("MR_small_jpeg_ls_lossless.dcm", download=False)))
    expected = read_radiograph(whole)
    with pytest.raises(UnreadableImage, match="crashes or stalls the decoder"):
        decode_expendably(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_radiograph(whole), expected)
    with pytest.raises(UnreadableImage):
        read_radiograph(tmp_path / "a.dcm")


def test_borders_are_found_from_the_outside_inwards() -> None:
    film = np.full((100, 80), 250, dtype=np.uint8)
    film[10:90, 5:70] = np.random.default_rng(0).integers(20, 200, (80, 65))
    film[50, 30:60] = 250
    film[90:] = 3
    assert border_of(film) == (slice(10, 90), slice(5, 70))
    inner = film[10:90, 5:70]
    assert border_of(inner) == (slice(0, 80), slice(0, 65))
    for blank in (np.full((10, 12), 7, dtype=np.uint16), np.repeat([[0], [200]], 5, axis=0).astype(np.uint8).repeat(12, 1)):
        assert border_of(blank) == (slice(0, 10), slice(0, 12))
