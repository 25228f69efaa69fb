"""Images that are broken, huge or not images: each has a stated outcome (docs/reference/hostile-input.md)."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom
from PIL import Image, PngImagePlugin

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.readers import UnreadableImage, read_radiograph
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.verify import verify

MEASURED = """
import re, sys
from pathlib import Path
from lingula.data.readers import UnreadableImage, fit_square, read_radiograph
try:
    print(fit_square(read_radiograph(Path(sys.argv[1])), 256)[0].shape)
except UnreadableImage as error:
    print(error.reason)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_png(path: Path, side: int, rows: int, depth: int = 8) -> None:
    """Write a black square PNG piece by piece, with only the first `rows` of its rows."""
    header = struct.pack(">IIBBBBB", side, side, depth, 0, 0, 0, 0)
    row = bytes(1 + side * depth // 8)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b""))


def _measured(path: Path) -> tuple[str, float]:
    """Read a file in a process of its own; return what came of it and the process's peak memory in MiB."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", MEASURED, path], env=environment, capture_output=True, text=True, check=True)
    outcome, memory = done.stdout.splitlines()
    return outcome, float(memory)


def _reason(path: Path) -> str:
    with pytest.raises(UnreadableImage) as refused:
        read_radiograph(path)
    return refused.value.reason


def test_an_image_of_20000_pixels_a_side_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    _write_png(tmp_path / "a.png", 20_000, rows=20_000)
    outcome, memory = _measured(tmp_path / "a.png")
    assert outcome in ("20000 x 20000 pixels is too large for a radiograph", "too large for a radiograph")
    assert memory < 250, f"{memory:.0f} MiB"


@pytest.mark.soak
@pytest.mark.parametrize("depth", [8, 16])
def test_the_largest_image_that_is_read_takes_bounded_memory(tmp_path: Path, depth: int) -> None:
    _write_png(tmp_path / "a.png", 9_400, rows=9_400, depth=depth)
    outcome, memory = _measured(tmp_path / "a.png")
    print(f"{depth} bits, 9,400 x 9,400 pixels: peak {memory:.0f} MiB")
    assert outcome == "(256, 256)"
    assert memory < 1500


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    _write_png(tmp_path / "a.png", 60_000, rows=10)
    assert _reason(tmp_path / "a.png") in ("60000 x 60000 pixels is too large for a radiograph", "too large for a radiograph")
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a" * 50_000_000, zip=True)
    Image.new("L", (8, 8)).save(tmp_path / "b.png", pnginfo=text)
    assert (tmp_path / "b.png").stat().st_size < 100_000
    assert "too large" in _reason(tmp_path / "b.png").lower()


def test_zero_sized_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert _reason(tmp_path / "a.png") == "file is empty"
    _write_png(tmp_path / "b.png", 0, rows=0)
    assert _reason(tmp_path / "b.png")


def test_text_and_a_folder_and_a_pipe_named_png_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("The heart is normal.")
    assert _reason(tmp_path / "a.png") == "not a PNG, JPEG or DICOM image"
    (tmp_path / "b.png").mkdir()
    assert _reason(tmp_path / "b.png") == "is a folder"
    os.mkfifo(tmp_path / "c.png")
    assert _reason(tmp_path / "c.png") == "is no regular file"


def test_floating_point_images_with_nan_are_refused(tmp_path: Path) -> None:
    values = np.full((8, 8), np.nan, dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    np.save(tmp_path / "b.npy", values)
    for name in ("a.tiff", "b.npy"):
        assert _reason(tmp_path / name) == "not a PNG, JPEG or DICOM image"
    dataset = dicom(np.zeros((8, 8), dtype=np.uint16))
    del dataset.PixelData
    dataset.FloatPixelData = values.tobytes()
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    assert _reason(tmp_path / "c.dcm") == "floating-point pixels are no radiograph"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert _reason(tmp_path / "a.png") == "its symbolic links run in a circle"


def test_a_constant_image_is_kept_and_verify_warns_of_it(make_table: Callable[..., Path], tmp_path: Path) -> None:
    table = make_table([{"image": "0.png"}, {"image": "1.png"}])
    Image.new("L", (40, 30), 77).save(table.parent / "1.png")
    prepare(CsvSource(table), tmp_path / "store", PrepareConfig(size=40), workers=1)
    (problem,) = verify(Store.open(tmp_path / "store"))
    assert (problem.severity, problem.message) == ("warning", "1 images are constant (first: 1.png:0)")


def test_a_path_outside_the_root_is_quarantined_and_never_opened(make_table: Callable[..., Path], tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    Image.new("L", (8, 8)).save(outside)
    paths = ["a.png", "../secret.png", str(outside), "x/../../secret.png"]
    table = make_table([{"image": "a.png"}, *({"image": path} for path in paths[1:])])
    summary = prepare(CsvSource(table), tmp_path / "store", PrepareConfig(size=16), workers=1)
    assert summary.reasons == {"path leaves the root folder": 3}
    assert summary.counts["all"]["images"] == 1
