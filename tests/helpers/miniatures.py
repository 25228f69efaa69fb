"""Tiny copies of public data sets in their published layouts: tables as text, images of a few pixels, all different."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from dicom_files import write_dicom
from PIL import Image

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.public import PublicSource
from lingula.data.store import Store


def write_text(path: Path, text: str) -> Path:
    """Write a table or list, packed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_picture(path: Path, shape: tuple[int, int] = (20, 16)) -> np.ndarray:
    """Write grey noise that differs from path to path, as PNG, JPEG or DICOM by the path's ending; return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(str(path).encode())).integers(0, 256, shape, dtype=np.uint8)
    if path.suffix in (".dcm", ".dicom"):
        return write_dicom(path, pixels)
    Image.fromarray(pixels).save(path)
    return pixels


def prepared(source: PublicSource, folder: Path, size: int = 32) -> Store:
    """Prepare a source in this process and open the store."""
    source.check_apart()
    return Store.open(prepare(source, folder, PrepareConfig(size=size), workers=1).store)


def nih(root: Path, patients: int = 6, numbered: bool = True) -> Path:
    """Write ChestX-ray14: two images a patient, in the numbered folders of the archives; a third of the patients is test."""
    head = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    findings = ("No Finding", "Infiltration|Effusion", "Hernia", "Pneumonia|Mass")
    rows, lists = [head], {"train_val_list.txt": "", "test_list.txt": ""}
    for patient in range(1, patients + 1):
        for follow_up in range(2):
            name = f"{patient:08d}_{follow_up:03d}.png"
            found = findings[(2 * patient + follow_up) % 4]
            rows.append(
                f"{name},{found},{follow_up},{patient},{40 + patient},{'MF'[follow_up]},{('PA', 'AP')[follow_up]},9,9,.1,.1"
            )
            lists["test_list.txt" if patient % 3 == 0 else "train_val_list.txt"] += f"{name}\n"
            folder = f"images_{patient:03d}/images" if numbered else "images"
            write_picture(root / folder / name)
    write_text(root / "Data_Entry_2017_v2020.csv", "\r\n".join(rows) + "\r\n")
    boxes = "00000001_000.png,Infiltrate,2,3,8,9\n00000003_000.png,Atelectasis,0.5,0.5,4,4,,,\n"
    write_text(root / "BBox_List_2017.csv", f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{boxes}")
    for name, text in lists.items():
        write_text(root / name, text)
    return root


def rsna(root: Path, images: int = 12, side: int = 20) -> Path:
    """Write the RSNA challenge: every third image has pneumonia, the first with two boxes; noise, brighter in the boxes."""
    labels, classes = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for number in range(images):
        name = f"{number:08d}-0000-0000-0000-000000000000"
        picture = np.random.default_rng(number).integers(20, 90, (side, side), dtype=np.uint8)
        quarter = side / 4
        boxes = [(quarter, quarter, quarter * 1.5, quarter * 2)] if number % 3 == 0 else []
        boxes += [(quarter * 3, 0.0, quarter, quarter)] if number == 0 else []
        for x, y, width, height in boxes:
            picture[int(y) : int(y + height), int(x) : int(x + width)] += 140
            labels.append(f"{name},{x},{y},{width},{height},1")
            classes.append(f"{name},Lung Opacity")
        if not boxes:
            labels.append(f"{name},,,,,0")
            classes.append(f"{name},{('Normal', 'No Lung Opacity / Not Normal')[number % 2]}")
        told = {"PatientSex": "FM"[number % 2], "PatientAge": f"{50 + number:03d}Y", "ViewPosition": ("PA", "AP")[number % 2]}
        write_dicom(root / f"stage_2_train_images/{name}.dcm", picture, **told)
    write_picture(root / "stage_2_test_images/unlabelled.dcm")
    write_text(root / "stage_2_train_labels.csv", "\n".join(labels))
    write_text(root / "stage_2_detailed_class_info.csv", "\n".join(classes))
    return root
