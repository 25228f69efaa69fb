"""Tiny copies of public CT data sets in their published layouts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from ct_volumes import chest
from miniatures import write_text

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.sources.public_volumes import PublicVolumeSource
from lingula.data.sources.rad_chestct import FINDINGS
from lingula.data.text.ct_lexicon import CT_FINDINGS
from lingula.data.volume_store import VolumeStore

SHAPE = (40, 30, 24)
LPS = np.array([[-0.5, 0, 0, 9], [0, -0.5, 0, 8], [0, 0, 1.5, -30], [0, 0, 0, 1]])
"""How v2 of CT-RATE lies: x to the left, y to the back, 0.5 mm in plane, 1.5 mm between slices."""
INTERCEPTS = (-1024, -8192)
SPACINGS = {1: 0.5, 2: 0.4}
"""Reconstruction to in-plane voxel size, mm; the second is finer."""


def prepared_volumes(source: PublicVolumeSource, folder: Path, **options: Any) -> VolumeStore:
    """Prepare a source in this process and open the store."""
    source.check_apart()
    return VolumeStore.open(prepare(source, folder, PrepareVolumesConfig(**options), workers=1).store)


def save_volume(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write a NIfTI file whose header has no slope."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    """Write a table whose columns are the keys of its first row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def ct_rate(root: Path, release: str = "v2", train: int = 3, valid: int = 2) -> Path:
    """Write CT-RATE: per patient a scan with two reconstructions; the last patient of each split has the first one's findings.

    Files of v1 hold stored values under an affine of 1 mm; the intercept changes from patient to patient.
    """
    for split, patients, table in (("train", train, "train"), ("valid", valid, "validation")):
        reports, metadata, labels = [], [], []
        for patient in range(1, patients + 1):
            for reconstruction, spacing in SPACINGS.items():
                scan = f"{split}_{patient}_a"
                name = f"{scan}_{reconstruction}.nii.gz"
                findings = f"Findings {1 if patient == patients else patient}."
                intercept = INTERCEPTS[patient % 2]
                impression = f'"Impression of {scan}."'
                told = {"Technique_EN": "Non-contrast.", "Findings_EN": findings, "Impressions_EN": impression}
                reports.append({"VolumeName": name, "ClinicalInformation_EN": "", **told})
                rescaling = {"RescaleIntercept": intercept, "RescaleSlope": 1, "XYSpacing": f"[{spacing}, {spacing}]"}
                metadata.append({"VolumeName": name, "Manufacturer": "M", **rescaling, "ZSpacing": 1.5})
                labels.append({"VolumeName": name, **{each: int(n == patient) for n, each in enumerate(CT_FINDINGS)}})
                hu = chest(SHAPE, seed=10 * patient + reconstruction)
                folder = f"dataset/{split}{'_fixed' if release == 'v2' else ''}/{split}_{patient}/{scan}"
                affine = np.diag([1.0, 1, 1, 1]) if release == "v1" else LPS @ np.diag([2 * spacing, 2 * spacing, 1, 1])
                save_volume(root / folder / name, hu if release == "v2" else (hu - intercept).astype(np.int16), affine)
        write_rows(root / f"dataset/radiology_text_reports/{table}_reports.csv", reports)
        write_rows(root / f"dataset/metadata/{table}_metadata.csv", metadata)
        write_rows(root / f"dataset/multi_abnormality_labels/{split}_predicted_labels.csv", labels)
        write_text(root / f"dataset/metadata/no_chest_{split}.txt", f"{split}/{split}_2/{split}_2_a/{split}_2_a_1.nii.gz\n")
    return root


def nnunet(root: Path, train: int = 3, test: int = 1, channels: tuple[str, ...] = ("CT",), **about: object) -> Path:
    """Write Dataset003_Liver: in every training case an organ (1), in all but the first a tumour (2) in it; test has no masks."""
    for folder, count in (("Tr", train), ("Ts", test)):
        for number in range(count):
            case = f"liver_{number + (0 if folder == 'Tr' else 100)}"
            for channel in range(len(channels)):
                save_volume(root / f"images{folder}/{case}_{channel:04d}.nii.gz", chest(SHAPE, seed=number), LPS)
            if folder == "Tr":
                save_volume(root / f"labelsTr/{case}.nii.gz", organ(tumour=number > 0), LPS)
    labels = {"background": 0, "liver": [1, 2], "tumour": 2}
    told = {"channel_names": dict(enumerate(channels)), "labels": labels, "numTraining": train, "file_ending": ".nii.gz"}
    write_text(root / "dataset.json", json.dumps({"name": "Liver", "licence": "CC BY-SA 4.0", **told, **about}))
    return root


def organ(tumour: bool) -> np.ndarray:
    """A box of 1, 8 x 8 x 8 voxels, with a smaller one of 2 in it."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:18, 11:19, 8:16] = 1
    if tumour:
        mask[12:15, 13:16, 10:13] = 2
    return mask


def rad_chestct(root: Path) -> Path:
    """Write RAD-ChestCT: two volumes a split, axes to feet, back and left; finding n of scan n is somewhere, others nowhere."""
    findings = [finding for each in FINDINGS.values() for finding in each]
    columns = [f"{finding}*{place}" for finding in (*findings, "airspace_disease") for place in ("right_lung", "other_location")]
    metadata = []
    for start, (split, short) in enumerate((("train", "trn"), ("valid", "val"), ("test", "tst"))):
        rows: list[dict[str, object]] = []
        for number in (2 * start, 2 * start + 1):
            name = f"{short}{number:05d}"
            rows.append({"NoteAcc_DEID": name, **{each: int(place == 2 * number + 1) for place, each in enumerate(columns)}})
            metadata.append({"NoteAcc_DEID": name, "MRN_DEID": f"pt{number}", "Manufacturer": "M"})
            np.savez_compressed(root / f"{name}.npz", ct=chest(SHAPE, seed=number).transpose()[::-1, ::-1, ::-1])
        write_rows(root / f"img{split}_Abnormality_and_Location_Labels.csv", rows)
    write_rows(root / "CT_Scan_Metadata_Complete_35747.csv", metadata)
    return root
