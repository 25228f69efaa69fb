"""Object-CXR: 10,000 frontal radiographs of township hospitals in China, half of them with foreign objects, outlined.

Citation: JF Healthcare, "object-CXR: automatic detection of foreign objects on chest X-rays", MIDL 2020 challenge.
Licence: CC BY-NC 4.0.
Download: https://archive.org/download/object-CXR (the challenge's own page is gone): train.zip, dev.zip, test.zip, train.csv,
dev.csv, test.csv, all unpacked below one folder.

Quirks: an annotation lists objects separated by `;`: `0 x1 y1 x2 y2` a rectangle, `1 x1 y1 x2 y2` an ellipse in that rectangle,
`2 x1 y1 x2 y2 x3 y3 …` a polygon; corners may come in any order; blank: nothing there; test.csv has `image_path` instead of
`image_name`. Patients are not told, every image is a patient of its own. The official dev images are what papers test on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageDraw

from lingula.core.errors import UserError
from lingula.core.types import RegionMask
from lingula.data.sources.csv_regions import TO_BE_MEASURED
from lingula.data.sources.public import PublicSource
from lingula.data.sources.published_rows import distinct
from lingula.data.sources.root_folder import beside
from lingula.data.split_rules import Assign, SplitRule, drawn_from_train, published
from lingula.data.study import ImageReference, Region, Split, Study

FOREIGN_OBJECT = "Foreign Object"
TABLES: dict[str, Split] = {"train": "train", "dev": "val", "test": "test"}
_OBJECT = re.compile(r"[01]( -?\d+){4}|2( -?\d+){6,}")


def _dev_is_test(rule: Assign) -> Assign:
    """Return a rule under which dev takes the place of test, and the official test images stay out."""
    places: dict[Split | None, Split | None] = {"train": "train", "val": "test"}
    return lambda cases: rule([case._replace(published=places.get(case.published)) for case in cases])


class ObjectCxrSource(PublicSource):
    """The challenge's images with boxes and masks of foreign objects."""

    name = "object-cxr"
    citation = "JF Healthcare, object-CXR, MIDL 2020"
    licence = "CC BY-NC 4.0"
    rules: Mapping[str, SplitRule] = {
        "official": SplitRule(
            "train, dev (val) and test as the challenge has them",
            published,
            "the challenge; BenchX",
            sizes=(8_000, 1_000, 1_000),
        ),
        "g2d": SplitRule(
            "a fifth of train is val, dev is test",
            _dev_is_test(drawn_from_train(1600, seed=0)),
            "MGCA's and G2D's tables (arXiv 2312.01522 Table 6); which images is not published, so the draw is ours",
            sizes=(6_400, 1_600, 1_000),
        ),
        "mgca-code": SplitRule(
            "a tenth of train is val, random_state 0, dev is test",
            _dev_is_test(drawn_from_train(0.1, seed=0)),
            "MGCA mgca/preprocess/object_cxr.py, which differs from its paper's table",
            sizes=(7_200, 800, 1_000),
        ),
    }
    _heavy = ("_rows",)

    def _open(self) -> None:
        self._rows: list[tuple[str, Split, str]] = []
        for name, split in TABLES.items():
            if name == "test" and self.folder.find_table("test.csv") is None:
                self._skip("table of the test images (test.csv) that is not there")
                continue
            path, table = self._table(f"{name}.csv", need=("annotation",))
            column = "image_path" if "image_name" not in table.columns and name == "test" else "image_name"
            table.require(column, f"as {self.name} publishes it")
            for row in distinct(table.rows, self.skipped):
                image = beside(path, f"{name}/{PurePosixPath(row[column]).name}")
                self._rows.append((image, split, row["annotation"]))

    def _studies(self) -> Iterator[Study]:
        for image, split, annotation in self._rows:
            objects = _objects(annotation, image)
            name = PurePosixPath(image).stem
            yield Study(
                study_id=name,
                patient_id=name,
                images=[ImageReference(path=image)],
                labels={FOREIGN_OBJECT: int(bool(objects))},
                regions=[Region(finding=FOREIGN_OBJECT, kind="device", box=TO_BE_MEASURED, mask=each) for each in objects],
                split=split,
                licence=self.licence,
            )

    def _draw(self, mask: str, height: int, width: int) -> RegionMask:
        kind, *values = (int(word) for word in mask.split())
        points = list(zip(values[::2], values[1::2], strict=False))
        canvas = Image.new("1", (width, height))
        draw = ImageDraw.Draw(canvas)
        if kind == 2:
            draw.polygon(points, fill=1)
        else:
            (x1, y1), (x2, y2) = (tuple(pick(values[place::2]) for place in (0, 1)) for pick in (min, max))
            (draw.ellipse if kind == 1 else draw.rectangle)((x1, y1, x2, y2), fill=1)
        return np.asarray(canvas)


def _objects(annotation: str, image: str) -> list[str]:
    found = [" ".join(part.split()) for part in annotation.split(";") if part.strip()]
    strange = next((part for part in found if not _OBJECT.fullmatch(part) or len(part.split()) % 2 == 0), None)
    if strange is not None:
        raise UserError(f"object-cxr: {image}: {strange[:40]!r} is no rectangle, ellipse or polygon", "Mend the table.")
    return found
