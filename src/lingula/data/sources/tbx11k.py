"""TBX11K: 11,200 radiographs with and without tuberculosis, with boxes; 8,400 of them have public labels.

Citation: Liu et al., "Rethinking computer-aided tuberculosis diagnosis", CVPR 2020.
Licence: CC BY-NC-SA 4.0 (of its own images).
Download: https://mmcheng.net/tb/: TBX11K.zip with imgs/{health,sick,tb,test,extra}/, lists/ and annotations/json/; or the
simplified copy https://www.kaggle.com/datasets/vbookshelf/tbx11k-simplified: images/ and data.csv, which BenchX uses.

Quirks: all images are 512 × 512; boxes are COCO's x, y, width, height; the lists hold paths below imgs/; test images have no
labels and are left out, imgs/extra repeats the Montgomery, Shenzhen, DA and DB collections and is not read; the simplified table
writes a box as a Python dictionary in text, `none` where there is none, and one row per box. The class is the folder's (or
`image_type`): healthy, sick but no tuberculosis, tuberculosis. Patients are not told, every image is a patient of its own.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lingula.core.errors import UserError
from lingula.core.files import sha256_of_file
from lingula.data.sources.public import PublicSource
from lingula.data.sources.published_rows import distinct
from lingula.data.sources.root_folder import beside
from lingula.data.sources.tables import read_text
from lingula.data.split_rules import Case, SplitRule, drawn, drawn_from_train, published
from lingula.data.study import ImageReference, Region, Split, Study

TUBERCULOSIS, SICK, HEALTHY = "Tuberculosis", "Sick, no tuberculosis", "No Finding"
CLASSES = {"health": HEALTHY, "healthy": HEALTHY, "sick": SICK, "sick_but_no_tb": SICK, "tb": TUBERCULOSIS}
"""Folder, or `image_type`, to label."""
TYPES = {
    "ActiveTuberculosis": "Active tuberculosis",
    "active_tb": "Active tuberculosis",
    "ObsoletePulmonaryTuberculosis": "Latent tuberculosis",
    "latent_tb": "Latent tuberculosis",
}
"""Categories of boxes to what their phrase says; others have none."""
LISTS: dict[Split, str] = {"train": "TBX11K_train.json", "val": "TBX11K_val.json"}


def _val_is_test(cases: Sequence[Case]) -> list[Split | None]:
    places: dict[Split | None, Split | None] = {"train": "train", "val": "test"}
    return drawn_from_train(0.1, seed=0)([case._replace(published=places.get(case.published)) for case in cases])


class Tbx11kSource(PublicSource):
    """TBX11K, whole or simplified."""

    name = "tbx11k"
    citation = "Liu et al., TBX11K, CVPR 2020"
    licence = "CC BY-NC-SA 4.0"
    rules: Mapping[str, SplitRule] = {
        "val-is-test": SplitRule(
            "the published val is test, as its test has no labels; a tenth of train is val",
            _val_is_test,
            "Liu et al. 2020; val is ours (the simplified copy has no lists: use benchx)",
        ),
        "published": SplitRule("the published train and val", published, "Liu et al. 2020", sizes=(6_600, 1_800, 0)),
        "benchx": SplitRule(
            "70/15/15, stratified by tuberculosis, random_state 42; equal to BenchX's lists",
            drawn(0.3, seed=42, stratified=True, second="val"),
            "BenchX preprocess/datasets/TBX11K, on the simplified copy",
            sizes=(5_879, 1_260, 1_260),
        ),
    }
    _heavy = ("_rows",)

    def _open(self) -> None:
        self._rows: dict[str, tuple[str, Split | None, list[Region]]] = {}
        if self.folder.find_table("TBX11K_train.json") is None and self.folder.find_table("data.csv") is not None:
            self._open_simplified()
            return
        for split, name in LISTS.items():
            path = self.folder.table(name)
            self.hashes[name] = sha256_of_file(self.root / path)
            self._add(split, path, _read_json(self.root / path))

    def _add(self, split: Split, path: str, values: dict[str, Any]) -> None:
        names = {each["id"]: each["name"] for each in values["categories"]}
        boxes: dict[int, list[Region]] = {}
        for each in values["annotations"]:
            x, y, width, height = (float(value) for value in each["bbox"])
            boxes.setdefault(each["image_id"], []).append(_region((x, y, x + width, y + height), names[each["category_id"]]))
        root = PurePosixPath(path).parent.parent.parent
        for image in values["images"]:
            inside = PurePosixPath(image["file_name"])
            where = (root / "imgs" / inside).as_posix()
            if where in self._rows:
                raise UserError(f"{self.name}: {inside} is listed twice", "Download the annotations again.")
            self._rows[where] = (_class_of(inside.parts[0]), split, boxes.get(image["id"], []))

    def _open_simplified(self) -> None:
        path, table = self._table("data.csv", need=("fname", "bbox", "target", "tb_type", "image_type"))
        for row in distinct(table.rows, self.skipped):
            where = beside(path, f"images/{row['fname']}")
            kind, _, regions = self._rows.setdefault(where, (_class_of(row["image_type"]), None, []))
            if kind != _class_of(row["image_type"]):
                raise UserError(f"{self.name}: {row['fname']} has two classes", "Mend the table.")
            if row["bbox"] not in ("", "none"):
                regions.append(_region(_box(row["bbox"], row["fname"]), row["tb_type"]))

    def _studies(self) -> Iterator[Study]:
        for path, (kind, split, regions) in self._rows.items():
            name = PurePosixPath(path).stem
            yield Study(
                study_id=name,
                patient_id=name,
                images=[ImageReference(path=path)],
                labels={each: int(each == kind) for each in (TUBERCULOSIS, SICK, HEALTHY)},
                regions=regions,
                split=split,
                licence=self.licence,
            )

    def _positive(self, study: Study) -> bool:
        return study.labels[TUBERCULOSIS] == 1


def _class_of(word: str) -> str:
    if word not in CLASSES:
        raise UserError(f"tbx11k: '{word}' is no class of an image ({', '.join(CLASSES)})", "Download the tables again.")
    return CLASSES[word]


def _region(box: tuple[float, float, float, float], kind: str) -> Region:
    return Region(finding=TUBERCULOSIS, kind="pathology", box=box, phrase=TYPES.get(kind, ""))


def _box(cell: str, name: str) -> tuple[float, float, float, float]:
    """Read a box that a table holds as the text of a Python dictionary."""
    try:
        values = ast.literal_eval(cell)
        x, y, width, height = (float(values[each]) for each in ("xmin", "ymin", "width", "height"))
    except (ValueError, SyntaxError, TypeError, KeyError):
        raise UserError(f"tbx11k: {name}: {cell[:40]!r} is no box", "Download the table again.") from None
    return x, y, x + width, y + height


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})", "Download it again.") from None
    if not isinstance(values, dict) or not {"images", "annotations", "categories"} <= set(values):
        raise UserError(f"{path} holds no COCO annotations", "Download it again.")
    return values
