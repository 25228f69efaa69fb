"""CheXpert: five images of four patients."""

from __future__ import annotations

from pathlib import Path

from miniatures import write_picture, write_text

from lingula.data.sources.chexpert import FINDINGS

HEAD = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(FINDINGS)}"

TRAIN = [
    ("patient00001/study1/view1_frontal.jpg", "Female,68,Frontal,AP", "1.0" + "," * 13),
    ("patient00002/study2/view1_frontal.jpg", "Female,87,Frontal,PA", ",,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,"),
    ("patient00002/study2/view2_lateral.jpg", "Female,87,Lateral,", ",,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,"),
    ("patient00003/study1/view1_frontal.jpg", "Unknown,0,Frontal,LL", "," * 13),
]

VALID = [("patient64541/study1/view1_frontal.jpg", "Male,73,Frontal,AP", ",".join(["0.0"] * 13 + ["1.0"]))]


def mini(root: Path, packed: str = "CheXpert-v1.0-small", images: bool = True) -> Path:
    for name, rows in (("train", TRAIN), ("valid", VALID)):
        write_text(root / f"{name}.csv", "\n".join([HEAD, *(f"{packed}/{name}/{path},{who},{rest}" for path, who, rest in rows)]))
        for path, *_ in rows if images else []:
            write_picture(root / name / path)
    return root
