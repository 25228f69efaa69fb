"""BIMCV-R: six volumes, unless more patients are asked for."""

from __future__ import annotations

from pathlib import Path

from ct_volumes import chest
from miniatures import write_text
from volume_miniatures import LPS, SHAPE, save_volume, write_rows

MACHINE = "/raid/cl522/BIMCV_CT"
LABELS = ("['COVID 19', ' ground glass pattern', '']", "['normal']", "['exclude', 'unchanged']", "['nodule', 'COVID 19']")


def mini(root: Path, table: str = "BIMCV_meta.csv", patients: int = 4) -> Path:
    """Write BIMCV-R: a session a patient, two of the first; then a volume of covid19_neg under the first patient's report."""
    rows: list[dict[str, object]] = []
    for number in range(patients + 1):
        patient, session = f"sub-S{max(number, 1):05d}", f"ses-E{number:05d}"
        rows.append(_row(patient, session, "covid19_posi", f"{patient}_{session}", number))
        save_volume(root / f"CT_1/ct/{patient}_{session}_run-1_bp-chest_ct.nii.gz", chest(SHAPE, seed=number), LPS)
    rows.append(_row("sub-S00001", "ses-E00000", "covid19_neg", "sub-S90000_ses-E90000", 0))
    save_volume(root / "CT_2/ct/sub-S90000_ses-E90000_acq-1_run-1_bp-chest_ct.nii.gz", chest(SHAPE, seed=99), LPS)
    if table != "BIMCV_meta.csv":
        rows = [{"path": row["ct_path"], "Report_en": row["Report_en"]} for row in rows]
    write_rows(root / "meta" / table, rows)
    write_text(root / "meta/mutliCls_meta.csv", "x\n1\n")
    return root


def _row(patient: str, session: str, half: str, volume: str, number: int) -> dict[str, object]:
    folder = f"{MACHINE}/{half}/{volume.replace('_', '/')}/mod-rx"
    acquisition = "_acq-1" if half == "covid19_neg" else ""
    return {
        "PatientID": patient,
        "ReportID": session,
        "Report": f"sin hallazgos {number} .",
        "Labels": LABELS[number % len(LABELS)],
        "num": 2.0,
        "path": folder,
        "Report_en": f"No findings {number}.",
        "ct_path": f"{folder}/{volume}{acquisition}_run-1_bp-chest_ct.nii.gz",
    }
