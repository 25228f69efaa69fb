from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from miniatures import prepared, write_picture, write_text

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.tbx11k import HEALTHY, SICK, TUBERCULOSIS, Tbx11kSource

KINDS = {"health": "h", "sick": "s", "tb": "tb"}


def _coco(names: list[str]) -> dict[str, Any]:
    images = [{"id": number, "file_name": name, "width": 16, "height": 20} for number, name in enumerate(names, 1)]
    ill = [image["id"] for image in images if str(image["file_name"]).startswith("tb/")]
    boxes = [{"id": number, "image_id": each, "category_id": 1, "bbox": [2, 3, 5, 6]} for number, each in enumerate(ill)]
    names_of = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
    kinds = [{"id": number, "name": name, "supercategory": "Tuberculosis"} for number, name in enumerate(names_of, 1)]
    return {"images": images, "annotations": boxes, "categories": kinds}


def _mini(root: Path) -> Path:
    for split, numbers in (("train", range(8)), ("val", range(8, 11))):
        names = [f"{folder}/{letter}{number:04d}.png" for folder, letter in KINDS.items() for number in numbers]
        write_text(root / f"annotations/json/TBX11K_{split}.json", json.dumps(_coco(names)))
        for name in names:
            write_picture(root / "imgs" / name)
    write_picture(root / "imgs/test/test_0001.png")
    write_picture(root / "imgs/extra/da+db/train/x.png")
    return root


def _simplified(root: Path) -> Path:
    rows = ["fname,image_height,image_width,source,bbox,target,tb_type,image_type"]
    for kind, letter in (("healthy", "h"), ("sick_but_no_tb", "s"), ("tb", "tb")):
        for number in range(20):
            name = f"{letter}{number:04d}.png"
            write_picture(root / "images" / name)
            boxes = (
                ["\"{'xmin': 2.0, 'ymin': 3.0, 'width': 5.0, 'height': 6.0}\""] * (1 + (number == 0))
                if kind == "tb"
                else ["none"]
            )
            for place, box in enumerate(boxes):
                moved = box.replace("2.0", f"{2 + place}.0")
                target = "tb,active_tb" if kind == "tb" else "no_tb,none"
                rows.append(f"{name},20,16,train,{moved},{target},{kind}")
    write_text(root / "data.csv", "\n".join(rows))
    return root


def test_the_published_layout(tmp_path: Path) -> None:
    source = Tbx11kSource(_mini(tmp_path / "in"))
    studies = {study.study_id: study for study in source}
    assert source.skipped == {"image file without a row in the tables": 2}
    assert studies["tb0000"].labels == {TUBERCULOSIS: 1, SICK: 0, HEALTHY: 0}
    assert studies["s0000"].labels == {TUBERCULOSIS: 0, SICK: 1, HEALTHY: 0}
    (region,) = studies["tb0000"].regions
    assert (region.finding, region.box, region.phrase) == (TUBERCULOSIS, (2, 3, 7, 9), "Active tuberculosis")
    assert [[study.split for study in studies.values()].count(split) for split in ("train", "val", "test")] == [21, 3, 9]
    assert len(prepared(source, tmp_path / "store")) == 33


def test_the_simplified_copy(tmp_path: Path) -> None:
    source = Tbx11kSource(_simplified(tmp_path / "in"), PublicConfig(split="benchx"))
    studies = {study.study_id: study for study in source}
    assert [region.box for region in studies["tb0000"].regions] == [(2, 3, 7, 9), (3, 3, 8, 9)]
    counts = {split: [s.labels[TUBERCULOSIS] for s in studies.values() if s.split == split] for split in ("train", "val", "test")}
    assert {split: (len(each), sum(1 for value in each if value)) for split, each in counts.items()} == {
        "train": (42, 14),
        "val": (9, 3),
        "test": (9, 3),
    }
    assert len(prepared(source, tmp_path / "store")) == 60


@pytest.mark.parametrize("cell", ["{'xmin': 2.0}", "box"])
def test_a_box_that_is_none(tmp_path: Path, cell: str) -> None:
    root = _simplified(tmp_path)
    text = (root / "data.csv").read_text()
    write_text(root / "data.csv", text.replace("{'xmin': 2.0, 'ymin': 3.0, 'width': 5.0, 'height': 6.0}", cell, 1))
    with pytest.raises(UserError, match=r"tbx11k: tb0000.png: .* is no box"):
        Tbx11kSource(root, PublicConfig(split="benchx"))


def test_annotations_that_are_none(tmp_path: Path) -> None:
    root = _mini(tmp_path)
    write_text(root / "annotations/json/TBX11K_val.json", "[]")
    with pytest.raises(UserError, match="holds no COCO annotations"):
        Tbx11kSource(root)
