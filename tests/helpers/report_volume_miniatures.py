"""Tiny copies of public CT data sets with reports, in their published layouts: Merlin, BIMCV-R."""

from __future__ import annotations

from pathlib import Path

from ct_volumes import chest
from miniatures import write_text
from volume_miniatures import LPS, SHAPE, save_volume, write_rows
from workbooks import write_workbook

from lingula.data.sources.merlin import FINDINGS

MERLIN_SPLITS = ("train", "train", "val", "test")
MACHINE = "/raid/cl522/BIMCV_CT"
BIMCV_LABELS = ("['COVID 19', ' ground glass pattern', '']", "['normal']", "['exclude', 'unchanged']", "['nodule', 'COVID 19']")


def merlin(root: Path, ending: str = ".nii.gz", reports: str = "reports_final.xlsx") -> Path:
    """Write Merlin: four scans; of the first a preliminary report too; no findings of the third, nothing in metadata of the last.

    Of scan n finding n is present, n + 1 absent, all others are not mentioned.
    """
    texts: list[list[str | float | None]] = [["study id", "Findings", "Split", "Few Shot"]]
    findings: list[dict[str, object]] = []
    metadata: list[dict[str, object]] = []
    for scan, split in enumerate(MERLIN_SPLITS):
        name = f"AC42136{scan}e"
        report = f"FINDINGS: Liver of {name}: &lt;DELETED&gt; normal, < 3 cm.\nIMPRESSION:\n1. Scan {scan}."
        texts += [[name, "No acute findings.", split, None]] * (scan == 0) + [[name, report, split, int(scan == 2)]]
        values = {each: {0: 1, 1: 0}.get(place - scan, -1) for place, each in enumerate(FINDINGS)}
        findings += [{"study id": name, **values}] * (scan != 2)
        about = {"study id": name, "Age": 50 + scan, "phase": "Portal venous", "manufacturer": "M", "kvp": 120}
        metadata += [about] * (2 if scan == 1 else scan < 3)
        save_volume(root / "merlin_data" / f"{name}{ending}", chest(SHAPE, seed=scan), LPS)
    if reports.endswith(".xlsx"):
        write_workbook(root / reports, texts)
    else:
        write_rows(root / reports, [dict(zip(map(str, texts[0]), row, strict=True)) for row in texts[1:]])
    write_rows(root / "zero_shot_findings_disease_cls.csv", findings)
    write_rows(root / "metadata.csv", metadata)
    return root


def bimcv_r(root: Path, table: str = "BIMCV_meta.csv", patients: int = 4) -> Path:
    """Write BIMCV-R: a session a patient, two of the first; then a volume of covid19_neg under the first patient's report."""
    rows: list[dict[str, object]] = []
    for number in range(patients + 1):
        patient, session = f"sub-S{max(number, 1):05d}", f"ses-E{number:05d}"
        rows.append(_bimcv_row(patient, session, "covid19_posi", f"{patient}_{session}", number))
        save_volume(root / f"CT_1/ct/{patient}_{session}_run-1_bp-chest_ct.nii.gz", chest(SHAPE, seed=number), LPS)
    rows.append(_bimcv_row("sub-S00001", "ses-E00000", "covid19_neg", "sub-S90000_ses-E90000", 0))
    save_volume(root / "CT_2/ct/sub-S90000_ses-E90000_acq-1_run-1_bp-chest_ct.nii.gz", chest(SHAPE, seed=99), LPS)
    if table != "BIMCV_meta.csv":
        rows = [{"path": row["ct_path"], "Report_en": row["Report_en"]} for row in rows]
    write_rows(root / "meta" / table, rows)
    write_text(root / "meta/mutliCls_meta.csv", "x\n1\n")
    return root


def _bimcv_row(patient: str, session: str, half: str, volume: str, number: int) -> dict[str, object]:
    folder = f"{MACHINE}/{half}/{volume.replace('_', '/')}/mod-rx"
    acquisition = "_acq-1" if half == "covid19_neg" else ""
    return {
        "PatientID": patient,
        "ReportID": session,
        "Report": f"sin hallazgos {number} .",
        "Labels": BIMCV_LABELS[number % len(BIMCV_LABELS)],
        "num": 2.0,
        "path": folder,
        "Report_en": f"No findings {number}.",
        "ct_path": f"{folder}/{volume}{acquisition}_run-1_bp-chest_ct.nii.gz",
    }
