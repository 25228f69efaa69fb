from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lingula.core.errors import UserError
from lingula.evaluation.pictures import Picture, SavedPicture, load_pictures, save_pictures
from lingula.evaluation.result import TaskResult


def picture(seed: int, caption: str, height: int = 5, width: int = 7) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8), caption)


def pixels(saved: SavedPicture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(saved.png))))


def test_pictures_come_back_bit_by_bit_in_order_with_their_captions(tmp_path: Path) -> None:
    given = [picture(n, f"caption {n} <b> – é", width=7 + n) for n in range(12)]
    save_pictures(tmp_path, given)
    found = load_pictures(tmp_path)
    assert [each.caption for each in found] == [each.caption for each in given]
    assert all(np.array_equal(pixels(a), b.image) for a, b in zip(found, given, strict=True))
    assert [(each.width, each.height) for each in found] == [(7 + n, 5) for n in range(12)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]


def test_a_later_evaluation_replaces_the_pictures_and_none_removes_them(tmp_path: Path) -> None:
    save_pictures(tmp_path, [picture(n, f"old {n}") for n in range(3)])
    save_pictures(tmp_path, [picture(9, "new")])
    assert [each.caption for each in load_pictures(tmp_path)] == ["new"]
    save_pictures(tmp_path, [])
    assert load_pictures(tmp_path) == []
    assert not (tmp_path / "pictures").exists()


def test_a_folder_of_images_without_captions_is_shown_by_name_after_the_named_ones(tmp_path: Path) -> None:
    save_pictures(tmp_path, [picture(0, "first"), picture(1, "second")])
    for name in ("b", "a"):
        Image.fromarray(picture(2, "").image).save(tmp_path / "pictures" / f"{name}.png")
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    assert [each.caption for each in load_pictures(tmp_path)] == ["first", "second", "a", "b"]
    (tmp_path / "pictures" / "pictures.json").unlink()
    assert [each.caption for each in load_pictures(tmp_path)] == ["001", "002", "a", "b"]


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_rgb_image_is_refused_and_leaves_the_old_pictures(tmp_path: Path, image: np.ndarray) -> None:
    save_pictures(tmp_path, [picture(0, "kept")])
    with pytest.raises(ValueError, match="uint8"):
        save_pictures(tmp_path, [picture(1, "good"), Picture(image, "bad")])
    assert [each.caption for each in load_pictures(tmp_path)] == ["kept"]


def test_a_missing_a_foreign_and_a_broken_file_are_told(tmp_path: Path) -> None:
    save_pictures(tmp_path, [picture(0, "x")])
    captions = tmp_path / "pictures" / "pictures.json"
    (tmp_path / "secret.png").write_bytes((tmp_path / "pictures" / "001.png").read_bytes())
    for name in ("002.png", "../secret.png"):
        captions.write_text(json.dumps([{"file": name, "caption": ""}]))
        with pytest.raises(UserError, match=name):
            load_pictures(tmp_path)
    captions.write_text("{}")
    with pytest.raises(UserError, match="not a list"):
        load_pictures(tmp_path)
    captions.write_text("[]")
    (tmp_path / "pictures" / "001.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match="not a PNG"):
        load_pictures(tmp_path)


def test_a_result_saves_its_pictures_and_one_without_leaves_them(tmp_path: Path) -> None:
    result = TaskResult(task="x", encoder="e", encoder_fingerprint="f", store="s", store_fingerprint="t", split="test", rows=[])
    result.with_pictures([picture(3, "overlay")]).save(tmp_path)
    assert [each.caption for each in load_pictures(tmp_path)] == ["overlay"]
    TaskResult.load(tmp_path).save(tmp_path)
    assert [each.caption for each in load_pictures(tmp_path)] == ["overlay"]
