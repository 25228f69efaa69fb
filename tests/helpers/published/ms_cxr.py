"""MS-CXR: three phrases in two images."""

from __future__ import annotations

from pathlib import Path

from miniatures import write_picture, write_text

HEAD = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height"

A, B = "files/p10/p10000032/s50414267/a.jpg", "files/p11/p11000011/s51029426/b.jpg"

ROWS = [
    f"a,Pneumothorax,small left apical pneumothorax,{A},2,3,4,5,16,20",
    f'a,Atelectasis,"atelectasis, left base",{A},8,10,6,6,16,20',
    f'a,Atelectasis,"atelectasis, left base",{A},1,10,6,6,16,20',
    f"b,Edema,pulmonary edema,{B},0,0,16,20,16,20",
]


def write_table(root: Path, split: tuple[str, ...] = ()) -> Path:
    head = HEAD + (",split" if split else "")
    rows = [f"{row},{word}" for row, word in zip(ROWS, split, strict=True)] if split else ROWS
    write_text(root / f"MS_CXR_Local_Alignment_v1.{int(bool(split))}.0.csv", "\n".join([head, *rows]))
    return root


def write_pictures(root: Path) -> Path:
    for path in (A, B):
        write_picture(root / path)
    return root
