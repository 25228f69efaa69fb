from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lingula.data import readers
from lingula.data.readers import UnreadableImage, fit_mask, fit_square, fitted_shape, read_mask, read_radiograph, to_depth

GREY = np.random.default_rng(0).integers(0, 256, (17, 23), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_every_8_bit_png_gives_the_same_grey_values(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(GREY)
    if mode == "P":
        image.putpalette([value for grey in range(256) for value in (grey, grey, grey)])
    else:
        image = image.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(GREY[:, ::-1].copy()))
    image.save(tmp_path / "a.png")
    found = read_radiograph(tmp_path / "a.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, GREY)


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), (200, 100, 50)).save(tmp_path / "a.png")
    assert read_radiograph(tmp_path / "a.png").tolist() == [[round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)] * 4] * 3


def test_bilevel_png_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(GREY > 99).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.png"), (GREY > 99) * np.uint8(255))


def test_16_bit_png_keeps_every_value(tmp_path: Path) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (9, 11), dtype=np.uint16)
    deep[0, :2] = 0, 65535
    Image.fromarray(deep).save(tmp_path / "a.png")
    found = read_radiograph(tmp_path / "a.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, deep)


def test_grey_and_cmyk_jpeg_are_read(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 48).reshape(64, 48).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_radiograph(tmp_path / "a.jpg").astype(int) - smooth).max() <= 3
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "b.jpg", quality=95)
    assert np.abs(read_radiograph(tmp_path / "b.jpg").astype(int) - smooth).max() <= 6


def test_exif_orientation_turns_the_image_upright(tmp_path: Path) -> None:
    upright = np.zeros((40, 20), dtype=np.uint8)
    upright[:20] = 255
    exif = Image.Exif()
    exif[274] = 6  # stored rotated; a viewer must turn it a quarter clockwise
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = read_radiograph(tmp_path / "a.jpg")
    assert found.shape == (40, 20)
    assert found[:18].min() > 200
    assert found[22:].max() < 50


def test_file_suffix_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.dat", format="PNG")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.dat"), GREY)


def _png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(file, format="PNG")
    return file.getvalue()


def _jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(file, format="JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "file is empty"),
        (b"Not found", "not a PNG, JPEG or DICOM image"),
        (b"GIF89a" + bytes(50), "not a PNG, JPEG or DICOM image"),
        (_png()[:-2000], "truncated"),
        (_jpeg()[:700], "truncated"),
        (_png()[:20], "."),
    ],
)
def test_broken_files_say_why(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason) as error:
        read_radiograph(tmp_path / "a.png")
    assert error.value.reason


def test_missing_file_and_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="no such file"):
        read_radiograph(tmp_path / "a.png")
    with pytest.raises(UnreadableImage, match="folder"):
        read_radiograph(tmp_path)


@pytest.mark.parametrize("area", [100, 40, 20])
def test_too_large_an_image_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, area: int) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", area)  # Pillow itself is silent, warns, or raises
    monkeypatch.setattr(readers, "LARGEST_AREA", 63)
    with pytest.raises(UnreadableImage, match="too large"):
        read_radiograph(tmp_path / "a.png")


@settings(max_examples=40)
@given(st.binary(max_size=200), st.integers(0, 3000))
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, junk: bytes, place: int) -> None:
    good = bytearray(_png())
    place = min(place, len(good) - 1)
    good[place : place + len(junk)] = junk
    file = tmp_path_factory.mktemp("damaged") / "a.png"
    file.write_bytes(bytes(good))
    with contextlib.suppress(UnreadableImage):
        assert read_radiograph(file).ndim == 2


def test_16_to_8_bits_divides_by_257() -> None:
    deep = np.array([[0, 257, 257 * 100, 65535]], dtype=np.uint16)
    assert to_depth(deep, 8).tolist() == [[0, 1, 100, 255]]


def test_12_bits_are_stretched_to_the_full_range() -> None:
    deep = np.array([[0, 2048, 4095]], dtype=np.uint16)
    assert to_depth(deep, 8).tolist() == [[0, 128, 255]]
    assert to_depth(deep, 16).tolist() == [[0, 32776, 65535]]


def test_two_images_of_one_depth_keep_their_relation() -> None:
    dark, bright = np.array([[2100]], dtype=np.uint16), np.array([[4000]], dtype=np.uint16)
    assert to_depth(bright, 16)[0, 0] / to_depth(dark, 16)[0, 0] == pytest.approx(4000 / 2100, rel=1e-4)


def test_8_bits_become_16_without_loss() -> None:
    every = np.arange(256, dtype=np.uint8)[None]
    assert to_depth(every, 16).tolist() == [[257 * value for value in range(256)]]
    np.testing.assert_array_equal(to_depth(to_depth(every, 16), 8), every)
    assert to_depth(np.zeros((2, 2), dtype=np.uint16), 8).max() == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 64), st.sampled_from([np.uint8, np.uint16]), st.integers(0, 9))
def test_fit_square_keeps_aspect_range_and_geometry(height: int, width: int, size: int, dtype: type, seed: int) -> None:
    largest = np.iinfo(dtype).max
    pixels = np.random.default_rng(seed).integers(1, largest, (height, width), dtype=dtype, endpoint=True)
    square, scale, top, left = fit_square(pixels, size)
    rows, columns, expected = fitted_shape(height, width, size)
    assert square.shape == (size, size)
    assert square.dtype == dtype
    assert scale == expected == size / max(height, width)
    assert max(rows, columns) == size
    assert abs(rows - height * scale) <= max(0.5, 1 - height * scale)
    content = square[top : top + rows, left : left + columns]
    assert content.min() >= min(int(pixels.min()), 1)
    assert content.max() <= pixels.max()
    outside = np.ones((size, size), dtype=bool)
    outside[top : top + rows, left : left + columns] = False
    assert not square[outside].any()
    assert abs(top - (size - rows - top)) <= 1
    assert abs(left - (size - columns - left)) <= 1


def test_an_image_of_the_right_size_is_untouched() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (32, 32), dtype=np.uint16)
    square, scale, top, left = fit_square(pixels, 32)
    np.testing.assert_array_equal(square, pixels)
    assert (scale, top, left) == (1.0, 0, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_reduction_averages_instead_of_picking(dtype: type) -> None:
    stripes = np.zeros((256, 256), dtype=dtype)
    stripes[:, ::2] = np.iinfo(dtype).max
    square, *_ = fit_square(stripes, 32)
    middle = np.iinfo(dtype).max / 2
    assert np.abs(square[4:-4, 4:-4].astype(float) - middle).max() < middle * 0.05


def test_a_point_lands_where_the_geometry_says() -> None:
    pixels = np.zeros((300, 200), dtype=np.uint8)
    pixels[60:70, 120:130] = 255
    square, scale, top, left = fit_square(pixels, 96)
    weight = square.astype(float) / square.sum()
    x, y = (weight.sum(axis=0) @ (np.arange(96) + 0.5)), (weight.sum(axis=1) @ (np.arange(96) + 0.5))
    assert x == pytest.approx(125 * scale + left, abs=0.5)
    assert y == pytest.approx(65 * scale + top, abs=0.5)


def test_masks_keep_their_area_and_thin_tubes_do_not_vanish() -> None:
    block = np.zeros((400, 400), dtype=bool)
    block[100:300, 60:260] = True
    assert fit_mask(block, 100).sum() == 50 * 50
    tube = np.zeros((400, 400), dtype=bool)
    tube[:, 200] = True
    thin = fit_mask(tube, 100)
    assert thin.any(axis=1).all()
    assert thin.sum(axis=1).max() <= 2
    assert not fit_mask(np.zeros((40, 40), dtype=bool), 10).any()


@pytest.mark.parametrize("inside", [1, 255])
def test_masks_of_either_convention_are_read(tmp_path: Path, inside: int) -> None:
    mask = GREY > 128
    Image.fromarray((mask * inside).astype(np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), mask)
