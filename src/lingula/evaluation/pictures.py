"""Pictures of a task for the report page: overlays, boxes, heat-maps, whatever is worth looking at.

A task hands them over with its result, and the page shows them in the task's section, in order, each with its caption:

    result = TaskResult(task="segment", …).with_pictures([Picture(overlay, "Edema: truth green, prediction red")])

`TaskResult.save` calls `save_pictures` with the result's own folder, so that the pictures of the weights a run started from
do not overwrite those of the run. On disk they are `RUN/evaluation/TASK/pictures/*.png` and, for captions and order,
`pictures.json` beside them: `[{"file": "001.png", "caption": "…"}, …]`. A folder of images without it is shown, too, in order of
the file names, each name being the caption.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from lingula.core.config import Config
from lingula.core.errors import UserError
from lingula.core.files import atomic_folder, read_json, write_json

PICTURES = "pictures"
CAPTIONS = "pictures.json"


@dataclass(frozen=True)
class Picture:
    """One picture for the page.

    Args:
        image: RGB, `height width 3`, uint8.
        caption: What it shows, in a sentence; also what a reader hears who does not see it.
    """

    image: UInt8[np.ndarray, "height width 3"]
    caption: str


class PictureFile(Config):
    """One line of `pictures.json`."""

    file: str
    """Name of the PNG in the same folder."""
    caption: str


@dataclass(frozen=True)
class SavedPicture:
    """One picture as the page embeds it.

    Args:
        png: The file's bytes, base64.
        caption: What it shows.
        width: Pixels.
        height: Pixels.
    """

    png: str
    caption: str
    width: int
    height: int


def save_pictures(folder: Path, pictures: Sequence[Picture]) -> None:
    """Write a task's pictures and captions, in the place of those of an earlier evaluation.

    Args:
        folder: The task's folder, RUN/evaluation/TASK; the pictures go to `pictures` in it.
        pictures: In the order of the page; none removes the earlier ones.

    Raises:
        ValueError: An image is not `height width 3` of uint8.
    """
    for picture in pictures:
        if picture.image.dtype != np.uint8 or picture.image.ndim != 3 or picture.image.shape[2] != 3 or not picture.image.size:
            raise ValueError(f"a picture is height × width × 3 of uint8, not {picture.image.shape} of {picture.image.dtype}")
    target = folder / PICTURES
    if not pictures:
        shutil.rmtree(target, ignore_errors=True)
        return
    with atomic_folder(target) as temporary:
        lines = []
        for number, picture in enumerate(pictures, start=1):
            file = f"{number:03}.png"
            Image.fromarray(np.ascontiguousarray(picture.image)).save(temporary / file, optimize=True)
            lines.append({"file": file, "caption": picture.caption})
        write_json(temporary / CAPTIONS, lines)
        shutil.rmtree(target, ignore_errors=True)


def load_pictures(folder: Path) -> list[SavedPicture]:
    """Read a task's pictures: those that `pictures.json` names, in its order, then the others by file name.

    Args:
        folder: The task's folder.

    Raises:
        UserError: A named picture is missing, or a file is no PNG.
    """
    place = folder / PICTURES
    named = [PictureFile.from_values(v, str(place / CAPTIONS)) for v in _captions(place / CAPTIONS)]
    known = {each.file for each in named}
    rest = [PictureFile(file=path.name, caption=path.stem) for path in sorted(place.glob("*.png")) if path.name not in known]
    return [_read(place, each) for each in [*named, *rest]]


def _captions(path: Path) -> list[dict[str, Any]]:
    values: Any = read_json(path) if path.is_file() else []
    if not isinstance(values, list):
        raise UserError(f"{path} is not a list of pictures", 'It reads [{"file": "001.png", "caption": "…"}, …].')
    return values


def _read(place: Path, picture: PictureFile) -> SavedPicture:
    """Read one PNG; a name that leads out of the folder is refused, because a page may be passed on."""
    path = place / picture.file
    if Path(picture.file).name != picture.file or not path.is_file():
        raise UserError(f"{place / CAPTIONS} names {picture.file}, which is not in {place}", "Mend it, or evaluate again.")
    content = path.read_bytes()
    try:
        with Image.open(path, formats=["PNG"]) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a PNG", "Save it as one, or remove it.") from None
    return SavedPicture(base64.b64encode(content).decode(), picture.caption, width, height)
