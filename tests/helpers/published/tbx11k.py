"""TBX11K, whole or simplified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from miniatures import write_picture, write_text

KINDS = {"health": "h", "sick": "s", "tb": "tb"}


def coco(names: list[str]) -> dict[str, Any]:
    images = [{"id": number, "file_name": name, "width": 16, "height": 20} for number, name in enumerate(names, 1)]
    ill = [image["id"] for image in images if str(image["file_name"]).startswith("tb/")]
    boxes = [{"id": number, "image_id": each, "category_id": 1, "bbox": [2, 3, 5, 6]} for number, each in enumerate(ill)]
    names_of = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
    kinds = [{"id": number, "name": name, "supercategory": "Tuberculosis"} for number, name in enumerate(names_of, 1)]
    return {"images": images, "annotations": boxes, "categories": kinds}


def mini(root: Path) -> Path:
    for split, numbers in (("train", range(8)), ("val", range(8, 11))):
        names = [f"{folder}/{letter}{number:04d}.png" for folder, letter in KINDS.items() for number in numbers]
        write_text(root / f"annotations/json/TBX11K_{split}.json", json.dumps(coco(names)))
        for name in names:
            write_picture(root / "imgs" / name)
    write_picture(root / "imgs/test/test_0001.png")
    write_picture(root / "imgs/extra/da+db/train/x.png")
    return root


def simplified(root: Path) -> Path:
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
