"""VinDr-CXR as PhysioNet has it: 21 images."""

from __future__ import annotations

from pathlib import Path

from miniatures import write_picture, write_text


def mini(root: Path, images: int = 20) -> Path:
    """Three readers an image of train, a consensus without reader for test; the first image is read in three ways."""
    labels = {
        "train": ["image_id,rad_id,Cardiomegaly,Nodule/Mass,Other disease,No finding"],
        "test": ["image_id,Cardiomegaly,Nodule/Mass,Other diseases,No finding"],
    }
    boxes = {
        "train": ["image_id,rad_id,class_name,x_min,y_min,x_max,y_max"],
        "test": ["image_id,class_name,x_min,y_min,x_max,y_max"],
    }
    for number in range(images):
        name = f"{number:032x}"
        write_picture(root / f"train/{name}.dicom")
        for reader in range(3):
            heart, nodule = int(number == 0 and reader < 2), int(number == 0 and reader == 2)
            labels["train"].append(f"{name},R{reader},{heart},{nodule},0,{int(not heart and not nodule)}")
            found = "Cardiomegaly,1,2,8,9" if heart else "Nodule/Mass,3,3,5,5" if nodule else "No finding,,,,"
            boxes["train"].append(f"{name},R{reader},{found}")
    write_picture(root / f"test/{'f' * 32}.dicom")
    labels["test"].append(f"{'f' * 32},0,1,1,0")
    boxes["test"].append(f"{'f' * 32},Nodule/Mass,2.5,2.5,6,6")
    for split in ("train", "test"):
        write_text(root / f"annotations/image_labels_{split}.csv", "\n".join(labels[split]))
        write_text(root / f"annotations/annotations_{split}.csv", "\n".join(boxes[split]))
    return root
