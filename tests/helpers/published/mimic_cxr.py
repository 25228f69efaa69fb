"""MIMIC-CXR: four studies of three patients, five images, reports of two."""

from __future__ import annotations

from pathlib import Path

from miniatures import write_picture, write_text

from lingula.data.sources.chexpert import FINDINGS

STUDIES = [
    ("10000032", "50414267", ("02aa804e-bde0afdd", "174413ec-4ec4c1f7"), ("PA", "LATERAL"), "train"),
    ("10000032", "53189527", ("2a2277a9-b0ded155",), ("AP",), "train"),
    ("11000011", "51029426", ("b75df1bd-0f22d631",), ("LL",), "validate"),
    ("12000012", "58127836", ("ee73a6d0-5e2d1e7e",), ("",), "test"),
]

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with new onset ascites  // eval for infection

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  None.

 FINDINGS:

 There is no focal consolidation, pleural effusion or pneumothorax.
 Bilateral nodular opacities are nipple shadows.

 IMPRESSION:

 No acute cardiopulmonary process.
"""


def write_tables(root: Path) -> None:
    meta, split = ["dicom_id,subject_id,study_id,ViewPosition,Rows"], ["dicom_id,study_id,subject_id,split"]
    for subject, study, names, views, part in STUDIES:
        meta += [f"{name},{subject},{study},{view},9" for name, view in zip(names, views, strict=True)]
        split += [f"{name},{study},{subject},{part}" for name in names]
    labels = [f"subject_id,study_id,{','.join(FINDINGS)}", f"10000032,50414267,1.0{',' * 13}"]
    labels.append("12000012,58127836," + ",".join(["", "-1.0", "0.0", *[""] * 11]))
    for name, lines in (("metadata", meta), ("split", split), ("chexpert", labels)):
        write_text(root / f"mimic-cxr-2.0.0-{name}.csv.gz", "\n".join(lines))


def mini(root: Path, ending: str = ".jpg") -> Path:
    write_tables(root)
    for subject, study, names, *_ in STUDIES:
        for name in names:
            write_picture(root / f"files/p{subject[:2]}/p{subject}/s{study}/{name}{ending}")
    return root


def write_reports(root: Path) -> Path:
    write_text(root / "files/p10/p10000032/s50414267.txt", REPORT)
    write_text(root / "files/p12/p12000012/s58127836.txt", " WET READ: ___ 9:00 AM\n No acute findings.\n")
    return root


def dicom(root: Path) -> Path:
    """Write MIMIC-CXR as DICOM, which has a table of its own."""
    write_reports(mini(root, ".dcm"))
    lines = ["subject_id,study_id,dicom_id,path"]
    for subject, study, names, *_ in STUDIES:
        lines += [f"{subject},{study},{name},files/p{subject[:2]}/p{subject}/s{study}/{name}.dcm" for name in names]
    write_text(root / "cxr-record-list.csv.gz", "\n".join(lines))
    return root
