"""Merlin: four scans."""

from __future__ import annotations

from pathlib import Path

from ct_volumes import chest
from volume_miniatures import LPS, SHAPE, save_volume, write_rows
from workbooks import write_workbook

from lingula.data.sources.merlin import FINDINGS

SPLITS = ("train", "train", "val", "test")


def mini(root: Path, ending: str = ".nii.gz", reports: str = "reports_final.xlsx") -> Path:
    """Write Merlin: four scans; of the first a preliminary report too; no findings of the third, nothing in metadata of the last.

    Of scan n finding n is present, n + 1 absent, all others are not mentioned.
    """
    texts: list[list[str | float | None]] = [["study id", "Findings", "Split", "Few Shot"]]
    findings: list[dict[str, object]] = []
    metadata: list[dict[str, object]] = []
    for scan, split in enumerate(SPLITS):
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
